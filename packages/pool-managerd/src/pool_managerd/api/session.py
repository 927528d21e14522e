"""The orchestrator's side of a session where only SSH is open: join, the stream, the answers."""

from typing import Final

from starlette.responses import Response

from orchestrator_core.contracts.control import Health
from orchestrator_core.contracts.joining import Joined
from orchestrator_core.contracts.session import SessionAnswer, SessionJoin
from orchestrator_core.errors import Refusal
from pool_managerd.api.event_streams import EventStreams
from pool_managerd.api.replies import refused, reply
from pool_managerd.runtime.pool import Pool

__all__ = ["SessionApi"]

_OK: Final = Health(status="ok")


class SessionApi:
    """Answers to the orchestrator that came through SSH."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._streams = EventStreams("session streams")

    async def join(self, proof: SessionJoin) -> Response:
        """Hand out the credential for the one-time token."""
        if self._pool.session.refusal is not None:
            return refused(self._pool.session.refusal)
        key = await self._pool.joining.join(proof.token.get_secret_value())
        if isinstance(key, Refusal):
            return refused(key)
        return reply(Joined.model_validate({"pool_id": self._pool.identity.pool_id, "key": key}))

    async def stream(self) -> Response:
        """Open the stream; an older one ends."""
        session = self._pool.session
        refusal = session.refusal or self._streams.refusal
        if refusal is not None:
            return refused(refusal)
        await self._pool.joining.note_use()
        stream = session.open()
        return self._streams.answer(stream.words(), on_close=lambda: session.leave(stream))

    async def answer(self, answer: SessionAnswer) -> Response:
        """Take the answer to one message."""
        refusal = self._pool.session.take(answer)
        return reply(_OK) if refusal is None else refused(refusal)
