"""Reads the header of a model wherever its bytes are: in a file here, or at a hub by ranges."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged
from orchestrator_core.gguf.reading import HeaderReading
from orchestrator_core.units import format_bytes
from pool_core.catalog.store.regular import open_regular

__all__ = ["HeaderFacts", "judge_facts", "judge_model", "read_facts", "read_file_facts"]


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What a header says, and how many bytes of the file had to be read for it."""

    facts: ModelFacts
    read_bytes: int | None = None


def read_facts(
    name: str, size_bytes: int, read: Callable[[int, int], bytes | Refusal]
) -> HeaderFacts | Refusal:
    """The facts of the header; read takes where to start and where to end."""
    reading = HeaderReading(size_bytes)
    header = None
    while header is None:
        data = read(reading.read_bytes, reading.wanted_bytes)
        if isinstance(data, Refusal):
            return data
        header = reading.add(data)
    facts = header if isinstance(header, Damaged) else facts_of(header, file_bytes=size_bytes)
    if isinstance(facts, Damaged):
        return _unfit(name, facts.reason)
    return HeaderFacts(facts, reading.read_bytes)


def read_file_facts(path: Path, name: str) -> HeaderFacts | Refusal:
    """The same of a regular file here."""
    try:
        descriptor = open_regular(path)
    except OSError as error:
        return Refusal(Code.DATA_CORRUPT, f"{name} cannot be read: {error.strerror}")
    try:
        size_bytes = os.fstat(descriptor).st_size
        return read_facts(
            name, size_bytes, lambda start, end: os.pread(descriptor, max(end - start, 0), start)
        )
    except OSError as error:
        return Refusal(Code.DATA_CORRUPT, f"{name} cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def judge_model(path: Path, name: str, *, size_bytes: int, count: int) -> ModelFacts | Refusal:
    """The facts of a file that is to be a model of so many files, or why it cannot be one."""
    found = read_file_facts(path, name)
    return (
        found if isinstance(found, Refusal) else judge_facts(found.facts, name, size_bytes, count)
    )


def judge_facts(facts: ModelFacts, name: str, size_bytes: int, count: int) -> ModelFacts | Refusal:
    """The same facts, unless a file of this size cannot be a model of so many files."""
    if facts.split_count != count:
        return _unfit(name, f"it says that it has {facts.split_count} parts and comes in {count}")
    if size_bytes < facts.needed_file_bytes:
        sizes = f"{format_bytes(size_bytes)} of {format_bytes(facts.needed_file_bytes)}"
        return _unfit(name, f"it is incomplete where it was published: {sizes} are there")
    if facts.tensor_count == 0 and count == 1:
        return _unfit(name, "it holds no weights: it is only the vocabulary of a model")
    return facts


def _unfit(name: str, reason: str) -> Refusal:
    return Refusal(Code.MODEL_INCOMPATIBLE, f"{name} cannot be used as a model: {reason}")
