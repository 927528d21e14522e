"""Reads the usual token without JSON: by the shape that it shares with one that was read in full.

The events of one answer differ in their text alone, for seconds on end. A shape is what stands
around that text; it is learnt from an event by proof, and whatever does not fit it exactly, or
holds a quote, an escape or a control character, goes the careful way through read_chunk.
"""

import re
from typing import Final

from orchestratord.upstream.chunks import Chunk, Shape, read_chunk
from orchestratord.upstream.loose import Json, as_int, as_object, as_objects

__all__ = ["ShapeReader", "shape_of"]

_BEGIN: Final = b"data: "
_END: Final = b"\n\n"
# Bytes that may stand in a JSON string as they are, so that they cannot end it.
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]+')
_MEMBER: Final = b'"content":"'
_PROBE: Final = "probe"
# Larger events are rare, and each open stream would keep one.
_LARGEST_BYTES: Final = 4096
# Learning costs as much as two careful reads: short answers do without, later it has to pay.
_FIRST: Final = 3
_PAYS_AFTER: Final = 4
_RARELY: Final = 32


class ShapeReader:
    """Reads the events of one answer that look like one before."""

    __slots__ = ("_end", "_missed", "_patience", "_start", "_used", "shape")

    def __init__(self) -> None:
        self.shape: Shape | None = None
        self._start = 0
        self._end = 0
        self._used = 0
        self._missed = 0
        self._patience = _FIRST

    def text_of(self, frame: bytes) -> bytes | None:
        """The text of a whole event that fits the shape; None: it has to be read with care."""
        shape = self.shape
        if shape is None or not (frame.startswith(shape.head) and frame.endswith(shape.tail)):
            return None
        text = frame[self._start : self._end]
        if _PLAIN.fullmatch(text) is None or not (text.isascii() or _is_utf8(text)):
            return None
        self._used += 1
        return text

    def read(self, frame: bytes) -> Chunk | None:
        """The same as a chunk."""
        text, shape = self.text_of(frame), self.shape
        if text is None or shape is None:
            return None
        return Chunk(shape.body, text.decode(), shape=shape, middle=text, has_choices=True)

    def learn(self, frame: bytes, chunk: Chunk) -> None:
        """Take the shape of an event that was read with care, if it has one and that pays."""
        if not chunk.text or len(frame) > _LARGEST_BYTES:
            return
        self._missed += 1
        if self._used >= _PAYS_AFTER or self._missed >= self._patience:
            self._used = self._missed = 0
            self._patience = _RARELY
            self.shape = shape_of(frame, chunk)
            if self.shape is not None:
                self._start, self._end = len(self.shape.head), -len(self.shape.tail)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def shape_of(frame: bytes, chunk: Chunk) -> Shape | None:
    """The shape of an event that brings plain text and nothing else."""
    text = chunk.text.encode()
    if _PLAIN.fullmatch(text) is None or not _is_text_alone(chunk.body):
        return None
    head, found, tail = frame.partition(_MEMBER + text + b'"')
    return _proven(chunk.body, head + _MEMBER, b'"' + tail) if found else None


def _is_text_alone(body: Json) -> bool:
    """True when nothing but the text of one choice would have to be told of such an event."""
    choices = as_objects(body.get("choices"))
    if len(choices) != 1 or any(body.get(name) for name in ("usage", "timings")):
        return False
    delta = as_object(choices[0].get("delta"))
    if "prompt_progress" in body or delta is None or list(delta) != ["content"]:
        return False
    return not (choices[0].get("finish_reason") or choices[0].get("logprobs"))


def _proven(body: Json, head: bytes, tail: bytes) -> Shape | None:
    """A shape, if another text in its middle is read as just that text.

    Then the middle is the inside of the string that holds the text, and no plain text can change
    how anything around it is read.
    """
    if not (head.startswith(_BEGIN) and tail.endswith(_END)):
        return None
    around = head + tail
    if around.find(b"\n") != len(around) - len(_END) or b"\r" in around:
        return None
    other = read_chunk(head[len(_BEGIN) :] + _PROBE.encode() + tail[: -len(_END)])
    if other is None or other.text != _PROBE or not _is_text_alone(other.body):
        return None
    choice = as_objects(body.get("choices"))[0]
    return Shape(head, tail, body, as_int(choice.get("index")))
