"""Writes small GGUF files: sound by default, and damaged exactly where a test says so.

Values go by their whole key ("llama.block_count", "general.name"); a value of None leaves a
default key out. The data of every tensor is zeroes, so such a file can be read but not run.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "DEFAULT_TENSORS",
    "TYPES",
    "Raw",
    "Tensor",
    "Value",
    "default_values",
    "gguf_bytes",
    "write_gguf",
]

TYPES: dict[str, tuple[int, int, int]] = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q6_K": (14, 256, 210),
    "BF16": (30, 1, 2),
}
"""Name of a tensor type: its number, the elements of a block, the bytes of a block."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A value written as it is: the number of its type and its bytes."""

    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file; kind and offset may be forged."""

    name: str
    shape: tuple[int, ...]
    type: str = "F32"
    kind: int | None = None
    offset: int | None = None

    @property
    def data_bytes(self) -> int:
        """The bytes of its data by its shape and type."""
        _, block, size = TYPES[self.type]
        return math.prod(self.shape) // block * size


Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | Sequence[Scalar] | Raw | None

DEFAULT_TENSORS: tuple[Tensor, ...] = (
    Tensor("token_embd.weight", (64, 96), "Q8_0"),
    Tensor("blk.0.attn_q.weight", (64, 64), "Q8_0"),
    Tensor("blk.1.attn_q.weight", (64, 64), "Q8_0"),
    Tensor("output_norm.weight", (64,)),
)


def default_values(architecture: str) -> dict[str, Value]:
    """What the header of a sound little model says."""
    return {
        "general.architecture": architecture,
        "general.name": "Made By A Test",
        "general.file_type": 7,
        f"{architecture}.context_length": 2048,
        f"{architecture}.block_count": 2,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.feed_forward_length": 128,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"token {number}" for number in range(96)],
    }


def _text(text: str, order: str) -> bytes:
    data = text.encode()
    return struct.pack(f"{order}Q", len(data)) + data


def _scalar(value: Scalar, order: str) -> tuple[int, bytes]:
    if isinstance(value, str):
        return 8, _text(value, order)
    if isinstance(value, bool):
        return 7, struct.pack(f"{order}?", value)
    if isinstance(value, float):
        return 6, struct.pack(f"{order}f", value)
    if value < 0:
        return 5, struct.pack(f"{order}i", value)
    kind, layout = (4, "I") if value < 2**32 else (10, "Q")
    return kind, struct.pack(f"{order}{layout}", value)


def _encoded(value: Scalar | Sequence[Scalar] | Raw, order: str) -> tuple[int, bytes]:
    if isinstance(value, Raw):
        return value.kind, value.data
    if isinstance(value, (str, bool, int, float)):
        return _scalar(value, order)
    items = [_scalar(item, order) for item in value]
    kind = items[0][0] if items else 4
    head = struct.pack(f"{order}IQ", kind, len(items))
    return 9, head + b"".join(data for _, data in items)


def _pair(key: str, value: Scalar | Sequence[Scalar] | Raw, order: str) -> bytes:
    kind, data = _encoded(value, order)
    return _text(key, order) + struct.pack(f"{order}I", kind) + data


def gguf_bytes(
    *,
    architecture: str = "llama",
    values: Mapping[str, Value] | None = None,
    tensors: Sequence[Tensor] = DEFAULT_TENSORS,
    version: int = 3,
    alignment: int = 32,
    big_endian: bool = False,
) -> bytes:
    """The whole content of the file; alignment is where its data begins, not a key of its own."""
    order = ">" if big_endian else "<"
    merged = default_values(architecture) | dict(values or {})
    pairs = [_pair(key, value, order) for key, value in merged.items() if value is not None]
    table = bytearray()
    end = 0
    for tensor in tensors:
        kind = TYPES[tensor.type][0] if tensor.kind is None else tensor.kind
        offset = end if tensor.offset is None else tensor.offset
        table += _text(tensor.name, order) + struct.pack(f"{order}I", len(tensor.shape))
        table += struct.pack(f"{order}{len(tensor.shape)}Q", *tensor.shape)
        table += struct.pack(f"{order}IQ", kind, offset)
        end += -(-tensor.data_bytes // alignment) * alignment
    head = b"GGUF" + struct.pack(f"{order}IQQ", version, len(tensors), len(pairs))
    header = head + b"".join(pairs) + bytes(table)
    return header + bytes(-len(header) % alignment) + bytes(end)


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    values: Mapping[str, Value] | None = None,
    tensors: Sequence[Tensor] = DEFAULT_TENSORS,
    version: int = 3,
    big_endian: bool = False,
    truncate_to: int | None = None,
) -> Path:
    """Write a GGUF file and return its path; truncate_to leaves only its first bytes."""
    data = gguf_bytes(
        architecture=architecture,
        values=values,
        tensors=tensors,
        version=version,
        big_endian=big_endian,
    )
    path.write_bytes(data[:truncate_to])
    return path
