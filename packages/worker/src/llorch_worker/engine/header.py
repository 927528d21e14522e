"""Reads the few facts of a GGUF header that decide whether the engine can be trusted with it.

Takes an open binary file, never the tensors. Every length is bounded before it is believed: a
forged header must cost neither memory nor time.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

__all__ = ["HeaderError", "ModelFacts", "read_facts"]

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_KEYS: Final = 65_536
_MAX_KEY_BYTES: Final = 65_535
_MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
_MAX_ITEMS: Final = 16 * 1024 * 1024
_KEPT_TEXT_BYTES: Final = 256
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final[dict[int, str]] = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


class HeaderError(ValueError):
    """The file is not a GGUF file that the engine would accept."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the checks need to know; None where the header is silent."""

    architecture: str
    trained_ctx: int | None
    blocks: int | None
    kv_bytes_per_token: int | None


class _Reader:
    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def take(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) != count:
            raise HeaderError("the file ends inside its header: it is incomplete")
        return data

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def length(self, limit: int, what: str) -> int:
        value = self.number("<Q")
        if value > limit:
            raise HeaderError(f"the header claims a {what} of {value}: it is damaged")
        return value

    def text(self) -> str | None:
        size = self.length(_MAX_TEXT_BYTES, "text size")
        if size > _KEPT_TEXT_BYTES:
            self.skip(size)
            return None
        return self.take(size).decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.take(min(count, 1 << 20)))

    def value(self, kind: int) -> "int | float | str | None":
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        layout = _SCALARS.get(kind)
        if layout is None:
            raise HeaderError(f"the header holds a value of unknown type {kind}: it is damaged")
        scalar: int | float = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return scalar

    def _skip_array(self) -> None:
        kind = self.number("<I")
        count = self.length(_MAX_ITEMS, "list length")
        if kind == _STRING:
            for _ in range(count):
                self.skip(self.length(_MAX_TEXT_BYTES, "text size"))
            return
        layout = _SCALARS.get(kind)
        if layout is None:
            raise HeaderError(f"the header holds a list of unknown type {kind}: it is damaged")
        self.skip(count * struct.calcsize(layout))


def read_facts(source: BinaryIO) -> ModelFacts:
    """Read the header from the file's beginning; raises HeaderError with one clear line."""
    reader = _Reader(source)
    magic = source.read(4)
    if magic != _MAGIC:
        raise HeaderError("it is not a GGUF file" if magic else "the file is empty")
    version = reader.number("<I")
    if version not in _VERSIONS:
        raise HeaderError(f"GGUF version {version} is not supported (2 and 3 are)")
    reader.number("<Q")  # The number of tensors: the engine checks those itself.
    count = reader.length(_MAX_KEYS, "number of keys")
    values: dict[str, int | float | str | None] = {}
    for _ in range(count):
        key_size = reader.length(_MAX_KEY_BYTES, "key size")
        key = reader.take(key_size).decode("utf-8", "replace")
        if key.startswith("tokenizer.") and _enough(values):
            # The vocabulary can be large and comes last in practice; nothing we need follows.
            break
        values[key] = reader.value(reader.number("<I"))
    return _facts(values)


def _enough(values: dict[str, int | float | str | None]) -> bool:
    architecture = values.get("general.architecture")
    return f"{architecture}.context_length" in values and f"{architecture}.block_count" in values


def _facts(values: dict[str, int | float | str | None]) -> ModelFacts:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise HeaderError("the header names no model architecture")
    whole = _whole_numbers(values, architecture)
    blocks, heads = whole("block_count"), whole("attention.head_count")
    kv_heads, width = whole("attention.head_count_kv"), whole("embedding_length")
    per_token: int | None = None
    if blocks and heads and kv_heads and width:
        key = whole("attention.key_length") or width // heads
        value = whole("attention.value_length") or width // heads
        per_token = blocks * kv_heads * (key + value) * 2
    return ModelFacts(architecture, whole("context_length"), blocks, per_token)


def _whole_numbers(
    values: dict[str, int | float | str | None], architecture: str
) -> Callable[[str], int | None]:
    def whole(name: str) -> int | None:
        value = values.get(f"{architecture}.{name}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    return whole
