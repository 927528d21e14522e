"""How the clients of a chat want their answers; made once for all who want the same."""

from orchestrator_core.contracts.openai import ChatRequest
from orchestratord.serving.answers.chat_call import ChatOptions
from orchestratord.settings import OrchestratorSettings

__all__ = ["Manners"]


class Manners:
    """The options of chats by what their requests say."""

    def __init__(self, settings: OrchestratorSettings, fingerprint: str) -> None:
        self._settings = settings
        self._fingerprint = fingerprint
        self._made: dict[tuple[bool, bool], ChatOptions] = {}

    def of(self, request: ChatRequest) -> ChatOptions:
        """The options of one chat."""
        extra = request.stream_options
        stream, include_usage = bool(request.stream), extra is not None and extra.include_usage
        found = self._made.get((stream, include_usage))
        if found is None:
            found = self._make(stream=stream, include_usage=include_usage)
            self._made[stream, include_usage] = found
        return found

    def _make(self, *, stream: bool, include_usage: bool) -> ChatOptions:
        settings = self._settings
        return ChatOptions(
            stream=stream,
            include_usage=include_usage,
            fingerprint=self._fingerprint,
            keepalive_s=settings.keepalive_s,
            data_keepalive_after_s=settings.data_keepalive_after_s,
            data_keepalive_s=settings.data_keepalive_s,
            load_wait_s=settings.load_wait_s,
            slow_reader_s=settings.slow_reader_s,
        )
