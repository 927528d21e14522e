"""Reads one event of an engine's stream: what text, end, usage or error it carries.

Comes from frames that upstream split off a worker's socket; goes to the pump and its job.
Unknown fields are left alone, wrong types never raise: an engine's answer is untrusted input.
"""

from dataclasses import dataclass
from typing import Final, cast

import orjson

from orchestratord.upstream.loose import Json, as_count, as_int, as_object, as_objects, as_text

__all__ = [
    "DONE",
    "Chunk",
    "EngineError",
    "Shape",
    "opened_choice",
    "prompt_tokens",
    "read_chunk",
    "read_error",
]

DONE: Final = b"[DONE]"
_OPENING: Final = frozenset({"role", "content"})


@dataclass(frozen=True, slots=True)
class EngineError:
    """An error that the engine reported in words."""

    message: str
    type: str
    status: int


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The bytes around the text of an event, the event itself and the number of its choice."""

    head: bytes
    tail: bytes
    body: Json
    index: int


@dataclass(slots=True)
class Chunk:
    """The facts of one stream event; body is the event itself.

    With a shape, body is an event that differs in its text alone, and middle is that text's bytes.
    """

    body: Json
    text: str = ""
    finish_reason: str = ""
    usage: Json | None = None
    timings: Json | None = None
    is_progress: bool = False
    is_reasoning: bool = False
    has_choices: bool = False
    error: EngineError | None = None
    shape: Shape | None = None
    middle: bytes = b""


def read_chunk(payload: bytes) -> Chunk | None:
    """Read a data payload; None means that it is no JSON object."""
    try:
        found: object = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    event = cast("dict[str, object]", found)
    chunk = Chunk(event)
    choices = as_objects(event.get("choices"))
    if choices:
        chunk.has_choices = True
        _read_choice(chunk, choices[0])
    elif "error" in event:
        chunk.error = read_error(event["error"])
    chunk.is_progress = "prompt_progress" in event
    chunk.usage = as_object(event.get("usage"))
    chunk.timings = as_object(event.get("timings"))
    return chunk


def opened_choice(chunk: Chunk) -> int | None:
    """The choice of an event that names the speaker of a chat and says nothing yet."""
    if chunk.is_progress or chunk.text or chunk.finish_reason:
        return None
    choices = as_objects(chunk.body.get("choices"))
    delta = as_object(choices[0].get("delta")) if len(choices) == 1 else None
    if delta is None or not delta.keys() <= _OPENING:
        return None
    return as_int(choices[0].get("index"))


def prompt_tokens(chunk: Chunk) -> int | None:
    """How long the prompt is, by an event that tells of progress with it."""
    told = as_object(chunk.body.get("prompt_progress"))
    return as_count(told.get("total")) if told else None


def read_error(error: object) -> EngineError:
    """Read the error object of a response body or of a stream event."""
    body = as_object(error) or {}
    return EngineError(
        message=as_text(body.get("message")) or as_text(error) or "the engine reported an error",
        type=as_text(body.get("type")) or "server_error",
        status=as_int(body.get("code"), default=500),
    )


def _read_choice(chunk: Chunk, choice: Json) -> None:
    # Chat streams put text into delta.content, completions into text.
    delta = as_object(choice.get("delta"))
    content = choice.get("text") if delta is None else delta.get("content")
    if isinstance(content, str):
        chunk.text = content
    if delta is not None and delta.get("reasoning_content"):
        chunk.is_reasoning = True
    reason = choice.get("finish_reason")
    if isinstance(reason, str):
        chunk.finish_reason = reason
