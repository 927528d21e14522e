"""Folds an engine's chat stream into one completion for a client that asked for no stream."""

from dataclasses import dataclass, field

from orchestratord.upstream.loose import Json, as_int, as_object, as_objects, as_text

__all__ = ["ChatFold", "Frame"]


@dataclass(slots=True)
class _ToolCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def result(self) -> Json:
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(slots=True)
class _Choice:
    content: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    tool_calls: dict[int, _ToolCall] = field(default_factory=dict[int, _ToolCall])
    logprobs: list[Json] = field(default_factory=list[Json])
    finish_reason: str = ""

    def add(self, choice: Json) -> None:
        # What goes on behind another worker's beginning comes as a raw completion.
        delta = as_object(choice.get("delta")) or {"content": choice.get("text")}
        self.content.append(as_text(delta.get("content")))
        self.reasoning.append(as_text(delta.get("reasoning_content")))
        for part in as_objects(delta.get("tool_calls")):
            call = self.tool_calls.setdefault(as_int(part.get("index")), _ToolCall())
            function = as_object(part.get("function")) or {}
            call.id = as_text(part.get("id")) or call.id
            call.name = as_text(function.get("name")) or call.name
            call.arguments.append(as_text(function.get("arguments")))
        logprobs = as_object(choice.get("logprobs")) or {}
        self.logprobs.extend(as_objects(logprobs.get("content")))
        self.finish_reason = as_text(choice.get("finish_reason")) or self.finish_reason

    def result(self, index: int) -> Json:
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        message: dict[str, object] = {"role": "assistant", "content": content}
        if reasoning:
            message["reasoning_content"] = reasoning
        if self.tool_calls:
            message["content"] = content or None
            message["tool_calls"] = [call.result() for _, call in sorted(self.tool_calls.items())]
        choice: dict[str, object] = {"index": index, "message": message}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        return choice | {"finish_reason": self.finish_reason or "stop"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the choices of a completion."""

    call_id: str
    model: str
    created: int
    fingerprint: str


class ChatFold:
    """Collects events until the stream ends."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def add(self, event: Json) -> None:
        """Take one event of the engine's stream."""
        for choice in as_objects(event.get("choices")):
            self._choices.setdefault(as_int(choice.get("index")), _Choice()).add(choice)

    def add_text(self, index: int, text: str) -> None:
        """Take an event that brings a choice's text and nothing else."""
        self._choices.setdefault(index, _Choice()).content.append(text)

    def end(self, reason: str) -> None:
        """Take the end of an only choice that no event has told of."""
        choice = self._choices.setdefault(0, _Choice())
        choice.finish_reason = choice.finish_reason or reason

    def result(self, frame: Frame, usage: Json | None, timings: Json | None = None) -> Json:
        """Make the whole completion; usage is None when the engine has not counted."""
        choices = self._choices or {0: _Choice()}
        body: dict[str, object] = {
            "id": frame.call_id,
            "object": "chat.completion",
            "created": frame.created,
            "model": frame.model,
            "system_fingerprint": frame.fingerprint,
            "choices": [choice.result(index) for index, choice in sorted(choices.items())],
            "usage": usage,
        }
        return body if timings is None else body | {"timings": timings}
