"""Turns an engine's chat stream into the client's, as bytes.

Only the engine's id and fingerprint are replaced, and its name for the model where it is not ours,
learnt from the first event; progress events and a usage event that nobody asked for are left out.
Nothing is serialised again.
"""

import json
from collections.abc import Sequence
from typing import Final

import orjson

from orchestratord.runtime.jobs.live import Piece
from orchestratord.upstream.chunks import Shape
from orchestratord.upstream.loose import Json, as_count, as_text

__all__ = ["ChatRewrite", "keepalive_chunk"]

# Ends every event, so it is never inside one.
_NOWHERE: Final = b"\n\n\n"


class ChatRewrite:
    """One client's view of the stream; a new attempt starts a new one."""

    __slots__ = (
        "_head", "_include_usage", "_model", "_new_fingerprint", "_new_id", "_new_model",
        "_old_fingerprint", "_old_id", "_old_model", "_shape", "_tail", "created",
    )  # fmt: skip

    def __init__(self, *, call_id: str, model: str, fingerprint: str, include_usage: bool) -> None:
        # The engine's own time, which passes; 0 until its first event is there.
        self.created = 0
        self._include_usage = include_usage
        self._new_id = _member("id", call_id)
        self._new_fingerprint = _member("system_fingerprint", fingerprint)
        self._model = model
        self._new_model = b""
        self._old_id = b""
        self._old_fingerprint = b""
        # Empty as long as the engine calls the model what we call it.
        self._old_model = b""
        # The shape of the engine's last token, and what stands around its text in our words.
        self._shape: Shape | None = None
        self._head = b""
        self._tail = b""

    def rewrite(self, pieces: Sequence[Piece]) -> bytes:
        """Translate what one read brought; may be empty."""
        if len(pieces) == 1:
            return self._frame(pieces[0])
        return b"".join([self._frame(piece) for piece in pieces])

    def token(self, shape: Shape, text: bytes) -> bytes:
        """Translate a token of a known shape: around its text everything is worded already."""
        if shape is not self._shape:
            self._adopt(shape)
        return self._head + text + self._tail

    def _frame(self, piece: Piece) -> bytes:
        chunk = piece.chunk
        if chunk.shape is not None:
            return self.token(chunk.shape, chunk.middle)
        if chunk.is_progress or not (chunk.has_choices or self._include_usage):
            return b""
        if not self._old_id:
            self._learn(chunk.body, piece.frame)
        # A quote inside generated text is escaped, so these members cannot be met in it.
        renamed = piece.frame.replace(self._old_id, self._new_id, 1)
        if self._old_model:
            renamed = renamed.replace(self._old_model, self._new_model, 1)
        return renamed.replace(self._old_fingerprint, self._new_fingerprint, 1)

    def _learn(self, body: Json, frame: bytes) -> None:
        self.created = as_count(body.get("created"))
        self._old_id = _learnt(body, "id", frame)
        self._old_fingerprint = _learnt(body, "system_fingerprint", frame)
        if body.get("model") != self._model:
            self._old_model = _learnt(body, "model", frame)
            self._new_model = _member("model", self._model)

    def _adopt(self, shape: Shape) -> None:
        """Rename once what stands around the text of many tokens."""
        if not self._old_id:
            self._learn(shape.body, shape.head + shape.tail)
        self._shape, self._head, self._tail = shape, shape.head, shape.tail
        names = [
            (self._old_id, self._new_id),
            (self._old_fingerprint, self._new_fingerprint),
        ]
        if self._old_model:
            names.append((self._old_model, self._new_model))
        for old, new in names:
            # Only the first of several is ours; none reaches over the text, which has no quotes.
            head = self._head.replace(old, new, 1)
            if old not in self._head:
                self._tail = self._tail.replace(old, new, 1)
            self._head = head


def _learnt(body: Json, name: str, frame: bytes) -> bytes:
    value = as_text(body.get(name))
    if not value:
        # An empty id may also stand in a tool call: what is not there cannot be replaced.
        return _NOWHERE
    member = _member(name, value)
    if member in frame:
        return member
    # Engines in Python often write a space after the colon, and all but ASCII in escapes.
    spaced = f'"{name}": {json.dumps(value)}'.encode()
    return spaced if spaced in frame else member


def _member(name: str, value: str) -> bytes:
    return b'"%s":%s' % (name.encode(), orjson.dumps(value))


def keepalive_chunk(*, call_id: str, model: str, created: int) -> bytes:
    """An empty chunk: resets the timers of clients that do not count comments."""
    body: dict[str, object] = {
        "id": call_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [],
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"
