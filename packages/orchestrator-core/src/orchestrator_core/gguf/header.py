"""Reads a GGUF header from the first bytes of a file: pure, and bounded whatever they say.

A caller reads 64 KiB and asks; while the answer is More it reads on, at least twice as much each
time. Vocabularies are stepped over. The bytes of the tensors themselves are never looked at.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator_core.gguf.cursor import MAX_HEADER_BYTES, Cursor, DamagedError, ShortError, Walked
from orchestrator_core.gguf.tensor_types import BLOCKS

__all__ = [
    "FIRST_READ_BYTES",
    "MAX_HEADER_BYTES",
    "Damaged",
    "Header",
    "Items",
    "More",
    "TensorInfo",
    "Value",
    "parse_header",
]

FIRST_READ_BYTES: Final = 65_536
"""Enough for everything but the vocabulary and the tensors of most models."""

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_SWAPPED: Final = {number << 24: number for number in _VERSIONS}
_MAX_KEYS: Final = 8192
_MAX_TENSORS: Final = 65_536
_MAX_KEY_BYTES: Final = 65_535
_MAX_NAME_BYTES: Final = 256
_KEPT_TEXT_BYTES: Final = 256
_KEPT_ITEMS: Final = 1024
_KEPT_ITEMS_TOTAL: Final = 65_536
_MAX_DIMS: Final = 4
_MAX_KIND: Final = 255
_MAX_ALIGNMENT: Final = 1 << 20
_MAX_OFFSET: Final = 1 << 60
_DEFAULT_ALIGNMENT: Final = 32
_LEAST_PAIR_BYTES: Final = 8 + 4 + 1
_LEAST_TENSOR_BYTES: Final = 8 + 4 + 4 + 8
_STRING: Final = 8
_LIST: Final = 9
_CODES: Final = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_SCALARS: Final = {kind: struct.Struct(f"<{code}") for kind, code in _CODES.items()}
_WEB_PAGE: Final = (b"<!doctype", b"<html")
_LFS_POINTER: Final = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of the header: its length, and its values where they are few numbers."""

    length: int
    numbers: tuple[bool | int | float, ...] | None = None


Value: TypeAlias = "bool | int | float | str | Items | None"
"""A value of the header; None is a text too long to keep."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies; the size is unknown where its type is."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """Everything kept from a sound header; data_offset is where the first tensor may begin."""

    version: int
    values: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int


@dataclass(frozen=True, slots=True)
class More:
    """The header is longer: at least this many bytes from the file's start are needed."""

    needed_bytes: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """This is no header that an engine should see; the reason is one clear line."""

    reason: str


def parse_header(data: bytes | memoryview, walked: Walked | None = None) -> Header | More | Damaged:
    """Read the header that these first bytes of a file begin with.

    Who asks again with more bytes of the same file may hand in the same walked, empty at first.
    """
    view = memoryview(data).cast("B")
    foreign = _foreign(bytes(view[:1024]))
    if foreign is not None:
        return Damaged(foreign)
    try:
        return _parse(Cursor(view, walked))
    except ShortError as short:
        return More(short.needed_bytes)
    except DamagedError as damage:
        return Damaged(str(damage))


def _foreign(start: bytes) -> str | None:
    """Name what the file is instead, from its first bytes."""
    if start[:4] == _MAGIC[: len(start)]:
        return None
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<") and any(sign in text for sign in _WEB_PAGE):
        return "it is a web page, not a model: the download went wrong"
    if text.startswith(_LFS_POINTER):
        return "it is a Git LFS pointer, not a model: the file itself was never fetched"
    return "it is not a GGUF file"


def _parse(cursor: Cursor) -> Header:
    cursor.skip(4, "more than it may")
    version = cursor.u32()
    if version in _SWAPPED:
        raise DamagedError(
            f"it is big-endian: GGUF version {_SWAPPED[version]} is not supported in that order"
        )
    if version not in _VERSIONS:
        raise DamagedError(f"GGUF version {version} is not supported (2 and 3 are)")
    tensor_count = _count(cursor, _MAX_TENSORS, "tensors")
    key_count = _count(cursor, _MAX_KEYS, "keys")
    cursor.expect(
        key_count * _LEAST_PAIR_BYTES + tensor_count * _LEAST_TENSOR_BYTES, "more than it may"
    )
    values = _Values(cursor).read(key_count)
    alignment = _alignment(values)
    tensors = _tensors(cursor, tensor_count, alignment)
    # A file without tensors ends with its header: nothing follows that would have to be aligned.
    end = cursor.position
    data_offset = _aligned(end, alignment) if tensors else end
    return Header(version, values, tensors, data_offset)


def _count(cursor: Cursor, limit: int, what: str) -> int:
    count = cursor.u64()
    if count > limit:
        raise DamagedError(f"the header claims {count} {what}: it is damaged")
    return count


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _alignment(values: Mapping[str, Value]) -> int:
    value = values.get("general.alignment", _DEFAULT_ALIGNMENT)
    if isinstance(value, int) and 0 < value <= _MAX_ALIGNMENT and value & (value - 1) == 0:
        return value
    raise DamagedError("the header's alignment is not a sensible power of two: it is damaged")


class _Values:
    """Reads the keys and what they hold, and keeps what is short."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._items_left = _KEPT_ITEMS_TOTAL

    def read(self, count: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for _ in range(count):
            key = self._cursor.text(_MAX_KEY_BYTES, "a key")
            if key in values:
                raise DamagedError(f"the header holds {_shown(key)} twice: it is damaged")
            values[key] = self._value(key)
        return values

    def _value(self, key: str) -> Value:
        kind = self._cursor.u32()
        if kind == _STRING:
            return self._cursor.text_if_short(_KEPT_TEXT_BYTES)
        if kind == _LIST:
            return self._items(keep=not key.startswith("tokenizer."))
        layout = _SCALARS.get(kind)
        if layout is None:
            raise DamagedError(f"{_shown(key)} is of the unknown type {kind}: it is damaged")
        return self._cursor.unpack(layout)[0]

    def _items(self, *, keep: bool) -> Items:
        kind = self._cursor.u32()
        count = self._cursor.u64()
        if kind == _STRING:
            self._cursor.skip_texts(count)
            return Items(count)
        layout = _SCALARS.get(kind)
        if layout is None:
            raise DamagedError(f"the header holds a list of type {kind}: it is damaged")
        if not keep or count > min(_KEPT_ITEMS, self._items_left):
            self._cursor.skip(count * layout.size, f"a list of {count} numbers")
            return Items(count)
        self._items_left -= count
        code = layout.format.removeprefix("<")
        return Items(count, self._cursor.unpack(struct.Struct(f"<{count}{code}")))


def _tensors(cursor: Cursor, count: int, alignment: int) -> tuple[TensorInfo, ...]:
    found: dict[str, TensorInfo] = {}
    for _ in range(count):
        tensor = _tensor(cursor, alignment)
        if tensor.name in found:
            raise DamagedError(f"the header holds {_shown(tensor.name)} twice: it is damaged")
        found[tensor.name] = tensor
    return tuple(found.values())


def _tensor(cursor: Cursor, alignment: int) -> TensorInfo:
    name = cursor.text(_MAX_NAME_BYTES, "a tensor's name")
    dims = cursor.u32()
    if dims > _MAX_DIMS:
        raise DamagedError(f"{_shown(name)} claims {dims} dimensions: it is damaged")
    shape = tuple(cursor.u64() for _ in range(dims))
    kind, offset = cursor.u32(), cursor.u64()
    if kind > _MAX_KIND:
        raise DamagedError(f"{_shown(name)} is of the unknown type {kind}: it is damaged")
    if offset % alignment or offset > _MAX_OFFSET:
        raise DamagedError(f"{_shown(name)} lies at an impossible place: it is damaged")
    return TensorInfo(name, shape, kind, offset, _size_bytes(name, shape, kind))


def _size_bytes(name: str, shape: tuple[int, ...], kind: int) -> int | None:
    elements = math.prod(shape)
    # A dimension of 0 makes the engine divide by it.
    if not 0 < elements <= _MAX_OFFSET:
        raise DamagedError(f"{_shown(name)} has an impossible shape: it is damaged")
    if kind not in BLOCKS:
        return None
    block, block_bytes = BLOCKS[kind]
    if (shape[0] if shape else 1) % block:
        raise DamagedError(f"{_shown(name)} has rows that its type cannot hold: it is damaged")
    return elements // block * block_bytes


def _shown(name: str) -> str:
    """A name from a file that nobody vouches for, fit for one line of a terminal."""
    return ascii(name[:64])
