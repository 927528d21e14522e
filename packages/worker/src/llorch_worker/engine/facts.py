"""Reads what the checks judge: this host's CPUs and memory, the model's header, the key file."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from llorch_worker.engine.limits import HostFacts
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged
from orchestrator_core.gguf.reading import HeaderReading
from orchestrator_core.units import format_bytes

__all__ = ["FileError", "default_threads", "read_host", "read_keys", "read_model"]

_MAX_KEY_FILE_BYTES: Final = 65_536


class FileError(ValueError):
    """A file that the command line names cannot be used; the text says why."""


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def read_host() -> HostFacts:
    """What this process may use."""
    return HostFacts(cpus=_cpus(), memory_available_bytes=psutil.virtual_memory().available)


def default_threads(host: HostFacts) -> int:
    """One thread per physical core: a second one on the same core slows the arithmetic down."""
    return max(1, min(host.cpus, psutil.cpu_count(logical=False) or host.cpus))


def _regular_file(path: Path, flag: str) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as error:
        raise FileError(f"{flag} {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{flag} {path}: not a regular file")
    return status


def read_model(path: Path) -> ModelFacts:
    """Read the header of the model file."""
    size = _regular_file(path, "--model").st_size
    if size == 0:
        # Not even opened: some files of the system are empty and still never end.
        raise FileError(f"--model {path}: the file is empty")
    try:
        with path.open("rb") as source:
            facts = _read_facts(source, size)
    except OSError as error:
        raise FileError(f"--model {path}: {error.strerror}") from error
    if isinstance(facts, Damaged):
        raise FileError(f"--model {path}: {facts.reason}")
    return facts


def _read_facts(source: BinaryIO, size: int) -> ModelFacts | Damaged:
    reading = HeaderReading(size)
    header = None
    while header is None:
        header = reading.add(source.read(reading.wanted_bytes))
    facts = header if isinstance(header, Damaged) else facts_of(header, file_bytes=size)
    if isinstance(facts, ModelFacts) and size < facts.needed_file_bytes:
        needed = format_bytes(facts.needed_file_bytes)
        return Damaged(f"the file is incomplete: {format_bytes(size)} of {needed} are there")
    return facts


def read_keys(path: Path) -> tuple[str, ...]:
    """Read the keys, one a line; a file that others may read is refused."""
    status = _regular_file(path, "--api-key-file")
    if status.st_mode & 0o077:
        raise FileError(f"--api-key-file {path}: others may read it (chmod 600)")
    try:
        with path.open("rb") as source:
            # Some files of the system are longer than they say.
            content = source.read(_MAX_KEY_FILE_BYTES + 1)
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FileError(f"--api-key-file {path}: not text") from error
    except OSError as error:
        raise FileError(f"--api-key-file {path}: {error.strerror}") from error
    if len(content) > _MAX_KEY_FILE_BYTES:
        raise FileError(f"--api-key-file {path}: too large")
    return tuple(line.strip() for line in lines if line.strip())
