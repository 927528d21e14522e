"""Turns an engine's chat stream into the client's, as bytes.

Only the engine's id and fingerprint are replaced, learnt from the first event; progress events
and a usage event that nobody asked for are left out. Nothing is serialised again.
"""

from collections.abc import Sequence

import orjson

from orchestratord.runtime.live import Piece
from orchestratord.upstream.loose import as_text

__all__ = ["ChatRewrite", "keepalive_chunk"]


class ChatRewrite:
    """One client's view of the stream; a new attempt starts a new one."""

    __slots__ = ("_include_usage", "_new_fingerprint", "_new_id", "_old_fingerprint", "_old_id")

    def __init__(self, *, call_id: str, fingerprint: str, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._new_id = _member("id", call_id)
        self._new_fingerprint = _member("system_fingerprint", fingerprint)
        self._old_id = b""
        self._old_fingerprint = b""

    def rewrite(self, pieces: Sequence[Piece]) -> bytes:
        """Translate what one read brought; may be empty."""
        if len(pieces) == 1:
            return self._frame(pieces[0])
        return b"".join([self._frame(piece) for piece in pieces])

    def _frame(self, piece: Piece) -> bytes:
        chunk = piece.chunk
        if chunk.is_progress or not (chunk.has_choices or self._include_usage):
            return b""
        if not self._old_id:
            self._old_id = _member("id", as_text(chunk.body.get("id")))
            fingerprint = as_text(chunk.body.get("system_fingerprint"))
            self._old_fingerprint = _member("system_fingerprint", fingerprint)
        # A quote inside generated text is escaped, so these members cannot be met in it.
        renamed = piece.frame.replace(self._old_id, self._new_id, 1)
        return renamed.replace(self._old_fingerprint, self._new_fingerprint, 1)


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
