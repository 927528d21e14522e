"""Prints what reading the header of a model with a large vocabulary costs, in time and in memory.

Run: python tests/bench/gguf_header.py [rounds]
The header has 150,000 tokens with scores and types, 250,000 merges and 400 tensors. The floor is a
plain read and SHA-256 of the same bytes in the same run; ratios outlive the hour. Nothing asserts.
"""

import hashlib
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Header, parse_header
from orchestrator_core.gguf.reading import HeaderReading
from support.gguf_files import Tensor, Value, write_gguf

TOKENS, MERGES, TENSORS = 150_000, 250_000, 400


def make(path: Path) -> int:
    """Write the file and return where its header ends; the rest of it is a hole."""
    values: dict[str, Value] = {
        "tokenizer.ggml.tokens": [f"token{number:x}" for number in range(TOKENS)],
        "tokenizer.ggml.scores": [0.0] * TOKENS,
        "tokenizer.ggml.token_type": [1] * TOKENS,
        "tokenizer.ggml.merges": [f"mer ge{number:x}" for number in range(MERGES)],
        "tokenizer.chat_template": "{{ messages }}" * 300,
        "llama.block_count": 40,
    }
    tensors = [Tensor(f"blk.{n // 10}.part_{n % 10}.weight", (256, 8)) for n in range(TENSORS)]
    write_gguf(path, values=values, tensors=tensors)
    header = parse_header(path.read_bytes())
    assert isinstance(header, Header)
    os.truncate(path, header.data_offset)
    os.truncate(path, header.data_offset + (1 << 30))
    return header.data_offset


def read_header(path: Path) -> int:
    """Read as the pool does before a worker starts; returns how many bytes that took."""
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        reading, header = HeaderReading(size), None
        while header is None:
            wanted = reading.wanted_bytes - reading.read_bytes
            header = reading.add(os.pread(stream.fileno(), wanted, reading.read_bytes))
    assert isinstance(header, Header)
    facts = facts_of(header, file_bytes=size)
    assert isinstance(facts, ModelFacts)
    assert facts.vocab_size == TOKENS
    return reading.read_bytes


def read_plainly(path: Path, size: int) -> None:
    """The floor: the same bytes, read and hashed."""
    with path.open("rb", buffering=0) as stream:
        hashlib.sha256(os.pread(stream.fileno(), size, 0)).digest()


def timed_ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def peak_mib(act: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1] / (1 << 20)
    finally:
        tracemalloc.stop()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.gguf"
        header_bytes = make(path)
        read_bytes = read_header(path)
        with path.open("rb") as stream:
            whole = stream.read(header_bytes)
        cells: dict[str, list[float]] = {"read": [], "parse once": [], "floor": []}
        for _ in range(rounds):
            cells["read"].append(timed_ms(lambda: read_header(path)))
            cells["parse once"].append(timed_ms(lambda: parse_header(whole)))
            cells["floor"].append(timed_ms(lambda: read_plainly(path, read_bytes)))
        floor = statistics.median(cells["floor"])
        print(f"header {header_bytes / (1 << 20):.1f} MiB, read {read_bytes / (1 << 20):.1f} MiB")
        for name, values in cells.items():
            median = statistics.median(values)
            spread = f"{min(values):.1f} to {max(values):.1f}"
            print(f"{name:12} {median:7.1f} ms ({spread})   {median / floor:5.2f} x floor")
        peak = peak_mib(lambda: read_header(path))
        ratio = peak / (read_bytes / (1 << 20))
        print(f"peak memory  {peak:7.1f} MiB                    {ratio:5.2f} x the bytes read")


if __name__ == "__main__":
    main()
