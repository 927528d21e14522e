"""Opens a model file safely and reads its header: the facts of it, or why it cannot be used.

What lies under a path is not trusted: a pipe must not hang us, a device must not be touched, and
a header may say anything. Only the header is read; call it off the event loop.
"""

import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged
from orchestrator_core.gguf.reading import HeaderReading
from orchestrator_core.units import format_bytes

__all__ = ["FactsCache", "Located", "hash_model_file", "read_model_file"]

_CACHED: Final = 256
# The first look at the path decides; NONBLOCK guards against a pipe put there after that look.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)

_Identity: TypeAlias = tuple[str, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Located:
    """A model file that can be started from, and what its header says.

    part_bytes are the sizes of the further parts of a split model, in their order.
    """

    path: Path
    size_bytes: int
    facts: ModelFacts
    part_bytes: tuple[int, ...] = ()

    @property
    def total_bytes(self) -> int:
        """What an engine reads to load the model."""
        return self.size_bytes + sum(self.part_bytes)

    @property
    def weights_bytes(self) -> int | None:
        """The weights of all parts; None where the header of the one file tells them."""
        return self.facts.weights_bytes + sum(self.part_bytes) if self.part_bytes else None

    @property
    def part_paths(self) -> tuple[Path, ...]:
        """Where the further parts lie."""
        numbers = range(2, len(self.part_bytes) + 2)
        return tuple(_part(self.path, number, self.facts.split_count) for number in numbers)


class FactsCache:
    """The facts of files that were read before, as long as the files are the same; bounded."""

    def __init__(self, capacity: int = _CACHED) -> None:
        self._capacity = capacity
        self._found: OrderedDict[_Identity, ModelFacts] = OrderedDict()
        self._lock = Lock()

    def get(self, identity: _Identity) -> ModelFacts | None:
        """What is known of exactly this file."""
        with self._lock:
            facts = self._found.get(identity)
            if facts is not None:
                self._found.move_to_end(identity)
            return facts

    def put(self, identity: _Identity, facts: ModelFacts) -> None:
        """Keep what was read; what was not asked for the longest goes."""
        with self._lock:
            self._found[identity] = facts
            if len(self._found) > self._capacity:
                self._found.popitem(last=False)


def read_model_file(path: Path, *, name: str, cache: FactsCache | None = None) -> Located | Refusal:
    """The facts of a model file under the name that a person knows it by."""
    descriptor = _open(path, name)
    if isinstance(descriptor, Refusal):
        return descriptor
    try:
        status = os.fstat(descriptor)
        identity = _identity(path, status)
        facts = cache.get(identity) if cache is not None else None
        if facts is None:
            facts = _read_facts(descriptor, status.st_size)
    except OSError as error:
        return _unusable(path, name, f"it cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
    if isinstance(facts, str):
        return _incompatible(path, name, facts)
    # Other parts come and go without a change of this one, so they are never remembered.
    part_bytes = _part_sizes(path, facts.split_count)
    if isinstance(part_bytes, str):
        return _incompatible(path, name, part_bytes)
    if cache is not None:
        cache.put(identity, facts)
    return Located(path, status.st_size, facts, part_bytes)


def hash_model_file(path: Path, *, name: str) -> str | Refusal:
    """The SHA-256 of the whole content."""
    descriptor = _open(path, name)
    if isinstance(descriptor, Refusal):
        return descriptor
    try:
        with os.fdopen(descriptor, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return _unusable(path, name, f"it cannot be read: {error.strerror}")


def _open(path: Path, name: str) -> int | Refusal:
    """A descriptor of a regular file; nothing else is ever opened for longer than a look."""
    try:
        # Opening a device may already move it, so the path is looked at first.
        kind = _kind(path.stat().st_mode)
        if kind is not None:
            return _unusable(path, name, f"it is {kind}, not a file")
        descriptor = os.open(path, _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A ValueError means a name that the system cannot even spell.
        return _missing(path, name)
    except PermissionError:
        return _unusable(path, name, "this user may not read it")
    except OSError as error:
        return _unusable(path, name, f"it cannot be opened: {error.strerror}")
    kind = _kind(os.fstat(descriptor).st_mode)
    if kind is None:
        return descriptor
    os.close(descriptor)
    return _unusable(path, name, f"it is {kind}, not a file")


def _kind(mode: int) -> str | None:
    """What lies there instead of a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "something special")


def _identity(path: Path, status: os.stat_result) -> _Identity:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (str(path), status.st_dev, status.st_ino, *times, status.st_size)


def _read_facts(descriptor: int, size: int) -> ModelFacts | str:
    """The facts, or in words what is wrong with the file."""
    reading = HeaderReading(size)
    header = None
    while header is None:
        wanted = reading.wanted_bytes - reading.read_bytes
        header = reading.add(os.pread(descriptor, wanted, reading.read_bytes))
    facts = header if isinstance(header, Damaged) else facts_of(header, file_bytes=size)
    if isinstance(facts, Damaged):
        return facts.reason
    if size < facts.needed_file_bytes:
        return (
            f"it is incomplete: {format_bytes(size)} of {format_bytes(facts.needed_file_bytes)} "
            "are there: download it again"
        )
    if facts.tensor_count == 0 and facts.split_count == 1:
        return "it holds no weights: it is only the vocabulary of a model"
    return facts


def _part_sizes(path: Path, count: int) -> tuple[int, ...] | str:
    """The sizes of the other parts, or what keeps an engine, which goes by names, from finding one."""
    ending = _ending(1, count)
    if count > 1 and not path.name.endswith(ending):
        return f"it is the first of {count} parts, so its name must end with {ending}"
    sizes: list[int] = []
    for number in range(2, count + 1):
        size = _size_of(_part(path, number, count))
        if size is None:
            return f"it is incomplete: part {number} of {count} is not beside it: download it again"
        sizes.append(size)
    return tuple(sizes)


def _part(first: Path, number: int, count: int) -> Path:
    return first.with_name(first.name.removesuffix(_ending(1, count)) + _ending(number, count))


def _ending(number: int, count: int) -> str:
    return f"-{number:05d}-of-{count:05d}.gguf"


def _size_of(path: Path) -> int | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _missing(path: Path, name: str) -> Refusal:
    if path.is_symlink():
        reason = "it is a link to a file that is not there"
    else:
        reason = "there is no such file on this host"
    return _refusal(Code.MODEL_NOT_FOUND, path, name, reason)


def _unusable(path: Path, name: str, reason: str) -> Refusal:
    return _refusal(Code.INVALID_REQUEST, path, name, reason)


def _incompatible(path: Path, name: str, reason: str) -> Refusal:
    return _refusal(Code.MODEL_INCOMPATIBLE, path, name, reason)


def _refusal(code: Code, path: Path, name: str, reason: str) -> Refusal:
    text = str(path)
    # A path may hold what no terminal and no JSON text can show.
    shown = text if text.isprintable() else ascii(text)
    message = f"{name} cannot be used: {shown}: {reason}"
    return Refusal(code, message, {"field": "spec.model.file", "file": shown})
