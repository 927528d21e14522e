"""Words the rest of a chat's stream as if the worker that began it had made it too.

The rest comes as raw completions, which have another form: each event is worded anew around its
text, with the id, the time and the names of the first.
"""

from collections.abc import Sequence

import orjson

from orchestratord.runtime.jobs.live import Piece
from orchestratord.upstream.chunks import Shape
from orchestratord.upstream.loose import Json

__all__ = ["ContinuedChat"]


class ContinuedChat:
    """One client's view of what follows behind what it holds."""

    __slots__ = ("_head", "_include_usage", "_names", "_tail")

    def __init__(
        self, *, call_id: str, model: str, fingerprint: str, created: int, include_usage: bool
    ) -> None:
        self._include_usage = include_usage
        self._names: Json = {
            "created": created,
            "id": call_id,
            "model": model,
            "system_fingerprint": fingerprint,
            "object": "chat.completion.chunk",
        }
        self._head = b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":'
        self._tail = b"}}]," + orjson.dumps(self._names)[1:] + b"\n\n"

    def rewrite(self, pieces: Sequence[Piece]) -> bytes:
        """Translate what one read brought; may be empty."""
        return b"".join([self._event(piece) for piece in pieces])

    def token(self, shape: Shape, text: bytes) -> bytes:  # noqa: ARG002 - it is another dialect's.
        """Translate a token whose text needs no escapes."""
        return self._head + b'"' + text + b'"' + self._tail

    def end(self, reason: str) -> bytes:
        """The event that ends the answer."""
        no_more: dict[str, object] = {}
        last: dict[str, object] = {"finish_reason": reason, "index": 0, "delta": no_more}
        return _frame({"choices": [last], **self._names})

    def usage(self, usage: Json, timings: Json | None) -> bytes:
        """The event behind it, for a client that has asked for one."""
        told: dict[str, object] = {"choices": [], **self._names, "usage": usage}
        return _frame(told if timings is None else told | {"timings": timings})

    def _event(self, piece: Piece) -> bytes:
        chunk = piece.chunk
        found = b""
        if chunk.text:
            found += self._head + orjson.dumps(chunk.text) + self._tail
        if chunk.finish_reason:
            found += self.end(chunk.finish_reason)
        if chunk.usage is not None and self._include_usage:
            found += self.usage(chunk.usage, chunk.timings)
        return found


def _frame(body: Json) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
