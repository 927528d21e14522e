"""Makes headers that lie: sound ones of many kinds, changed where it hurts, each from a number."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orchestrator_core.gguf.header as header_module
from orchestrator_core.gguf.cursor import MAX_HEADER_BYTES, Cursor
from orchestrator_core.gguf.header import Header, parse_header
from support.gguf_files import Tensor, Value, gguf_bytes
from support.worker_process import MODELS

__all__ = ["Sound", "lie", "sound_headers"]

_EDGES: Final = tuple(
    sorted(
        {value + step for value in (0, 8, 64, 255, 1024, 8192) for step in (-1, 0, 1)}
        | {2**power + step for power in (15, 16, 20, 24, 31, 32, 40, 60, 63) for step in (-1, 0, 1)}
        | {MAX_HEADER_BYTES + step for step in (-1, 0, 1)}
        | {2**64 - 1, 2**64 - 8, -(2**63) % 2**64}
    )
)


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound header, and where its counts, lengths, types and numbers stand: (place, bytes).

    values are those of them that a key of the model gives a value by.
    """

    data: bytes
    marks: tuple[tuple[int, int], ...]
    values: tuple[tuple[int, int], ...]


def sound_headers() -> tuple[Sound, ...]:
    """Headers of the built-in models and of made ones, each without the data of its tensors."""
    files = [(MODELS / f"{name}.gguf").read_bytes() for name in ("tiny-chat", "tiny-story")]
    per_layer: dict[str, Value] = {
        "llama.attention.head_count_kv": [2, 0],
        "llama.feed_forward_length": [128, 256],
        "llama.rope.scaling.factor": 8.0,
        "split.count": 2,
        "split.no": 0,
    }
    sliding: dict[str, Value] = {
        "gemma3.attention.sliding_window": 512,
        "gemma3.attention.sliding_window_pattern": [True, False],
        "gemma3.attention.key_length": 32,
        "general.alignment": 64,
    }
    mamba: dict[str, Value] = {
        "mamba.ssm.conv_kernel": 4,
        "mamba.ssm.inner_size": 128,
        "mamba.ssm.state_size": 16,
        "mamba.attention.head_count": 0,
    }
    experts: dict[str, Value] = {
        "qwen3moe.expert_count": 8,
        "qwen3moe.expert_used_count": 2,
        "tokenizer.ggml.scores": [0.5] * 300,
        "tokenizer.chat_template": "{{ messages }}" * 40,
    }
    files += [
        gguf_bytes(),
        gguf_bytes(version=2, values=per_layer),
        gguf_bytes(architecture="gemma3", values=sliding, alignment=64),
        gguf_bytes(architecture="mamba", values=mamba),
        gguf_bytes(architecture="qwen3moe", values=experts),
        gguf_bytes(tensors=[Tensor(f"blk.{n}.ffn_up.weight", (256, 4), "Q4_K") for n in range(40)]),
        gguf_bytes(tensors=[]),
    ]
    return tuple(_marked(data) for data in files)


def lie(number: int, seed: int, sound: Sequence[Sound]) -> bytes:
    """The changed header of this number: the same for the same seed, whatever was made before."""
    rng = random.Random(seed << 40 | number)
    base = rng.choice(sound)
    data = bytearray(base.data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        rng.choice(_CHANGES)(rng, data, base, sound)
    return bytes(data)


class _Marker(Cursor):
    """Notes where the parser reads numbers."""

    marks: list[tuple[int, int]]
    values: list[tuple[int, int]]

    def u32(self) -> int:
        self.marks.append((self.position, 4))
        return super().u32()

    def u64(self) -> int:
        self.marks.append((self.position, 8))
        return super().u64()

    def unpack(self, layout: struct.Struct) -> tuple[bool | int | float, ...]:
        if layout.size in (1, 2, 4, 8):
            self.values.append((self.position, layout.size))
        return super().unpack(layout)

    def text(self, max_bytes: int, what: str) -> str:
        self.marks.append((self.position, 8))
        return super().text(max_bytes, what)


def _marked(data: bytes) -> Sound:
    marks: list[tuple[int, int]] = []
    values: list[tuple[int, int]] = []
    plain = header_module.Cursor
    # The parser itself says where it reads, so that no second one has to be kept in step with it.
    _Marker.marks, _Marker.values = marks, values
    header_module.Cursor = _Marker
    try:
        header = parse_header(data)
    finally:
        header_module.Cursor = plain
    assert isinstance(header, Header), header
    return Sound(data[: header.data_offset], (*marks, *values), tuple(values))


_Change = Callable[[random.Random, bytearray, Sound, Sequence[Sound]], None]


def _flip_bits(rng: random.Random, data: bytearray, _base: Sound, _all: Sequence[Sound]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _forge(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    _overwrite(rng, data, rng.choice(base.marks))


def _forge_value(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    _overwrite(rng, data, rng.choice(base.values))


def _overwrite(rng: random.Random, data: bytearray, mark: tuple[int, int]) -> None:
    place, size = mark
    if place + size > len(data):
        return
    told = int.from_bytes(data[place : place + size], "little")
    value = rng.choice((rng.choice(_EDGES), told + rng.choice((-1, 1)), told << rng.randrange(32)))
    data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def _forge_type(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    place, size = rng.choice(base.marks)
    if size == 4 and place + size <= len(data):
        data[place : place + size] = struct.pack("<I", rng.randrange(16))


def _cut(rng: random.Random, data: bytearray, _base: Sound, _all: Sequence[Sound]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _splice(rng: random.Random, data: bytearray, base: Sound, every: Sequence[Sound]) -> None:
    other = rng.choice(every)
    del data[rng.choice(base.marks)[0] :]
    data += other.data[rng.choice(other.marks)[0] :]


def _repeat(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    start, end = sorted((rng.choice(base.marks)[0], rng.choice(base.marks)[0]))
    data[end:end] = data[start:end] * rng.choice((1, 1, 1, 30))


def _remove(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    start = rng.choice(base.marks)[0]
    del data[start : start + rng.choice((1, 4, 8, 64))]


def _insert(rng: random.Random, data: bytearray, base: Sound, _all: Sequence[Sound]) -> None:
    place = rng.choice(base.marks)[0]
    data[place:place] = rng.randbytes(rng.choice((1, 4, 8, 200)))


def _scramble(rng: random.Random, data: bytearray, _base: Sound, _all: Sequence[Sound]) -> None:
    data[rng.choice((0, 4, 8, 24)) :] = rng.randbytes(rng.randrange(400))


_CHANGES: Final[tuple[_Change, ...]] = (
    _flip_bits,
    _forge,
    _forge,
    _forge_value,
    _forge_value,
    _forge_type,
    _cut,
    _splice,
    _repeat,
    _remove,
    _insert,
    _scramble,
)
