"""Tells which build of llama.cpp the embedded engine is, and which architectures it knows.

The engine's package is found and its library is searched as a file; neither is ever loaded here.
Searching takes a moment, so it belongs into a thread; what comes out is a plain fact.
"""

import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = [
    "EngineFacts",
    "Library",
    "engine_build",
    "find_libraries",
    "read_engine_facts",
    "unknown_names",
]

_PACKAGE: Final = "xllamacpp"
_VERSION: Final = re.compile(r"\d{4}\.\d{1,2}\.(?P<build>\d{3,9})(?!\d)")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LIBRARIES: Final = ("*.so", "*.so.*", "*.dylib", "*.pyd", "*.dll")
_MAX_LIBRARIES: Final = 32
_MAX_BYTES: Final = 1 << 31
_CHUNK_BYTES: Final = 1 << 20
# Every build knows this one: where even it is not found, the library hides its names from us.
_KNOWN_TO_ALL: Final = "llama"


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The embedded engine: its build ("b11549") and the names it was asked for in vain."""

    build: str
    unknown: frozenset[str] = frozenset()

    def knows(self, architecture: str) -> bool:
        """False only for an architecture that was looked for and not found."""
        return architecture not in self.unknown


@dataclass(frozen=True, slots=True)
class Library:
    """A native library; size and time tell one version of it from the next."""

    path: Path
    size_bytes: int
    mtime_ns: int


def read_engine_facts(*architectures: str) -> EngineFacts | None:
    """Look the engine up, and these architectures in it; None where no engine is installed."""
    try:
        version = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    libraries = find_libraries(_folders()) if architectures else ()
    return EngineFacts(engine_build(version), unknown_names(libraries, architectures))


def engine_build(version: str) -> str:
    """The build of llama.cpp in the version of the package: 2026.10.11549 is b11549."""
    match = _VERSION.match(version)
    return f"b{match['build']}" if match else version


def find_libraries(folders: Iterable[Path]) -> tuple[Library, ...]:
    """The engine's native libraries, the largest first; what cannot be looked at is left out."""
    paths = {path for folder in folders for kind in _LIBRARIES for path in _matching(folder, kind)}
    found = (library for path in paths if (library := _library(path)) is not None)
    return tuple(sorted(found, key=lambda each: (-each.size_bytes, each.path))[:_MAX_LIBRARIES])


def unknown_names(libraries: Sequence[Library], names: Iterable[str]) -> frozenset[str]:
    """The names that no library holds; a library that cannot be searched is never a reason."""
    try:
        if not any(_holds(library, _KNOWN_TO_ALL) for library in libraries):
            return frozenset()
        return frozenset(
            name for name in names if not any(_holds(library, name) for library in libraries)
        )
    except OSError:
        return frozenset()


def _folders() -> tuple[Path, ...]:
    try:
        found = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return ()
    package = [Path(folder) for folder in (found and found.submodule_search_locations) or ()]
    # Repaired wheels keep the libraries they brought along in a folder beside the package.
    return tuple(
        folder
        for path in package
        for folder in (path, path / "lib", path.with_name(f"{path.name}.libs"))
    )


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []


def _library(path: Path) -> Library | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Library(path, status.st_size, status.st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=256)
def _holds(library: Library, name: str) -> bool:
    """Search a library for the end of a C string.

    A linker lets a string that is the tail of a longer one share its bytes ("qwen2" lies inside
    "rwkv6qwen2"), so nothing can be demanded of the byte before. A name that is found wrongly
    costs no more than the engine's own refusal; one that is missed would refuse a good model.
    """
    if not _NAME.fullmatch(name):
        return False
    wanted = name.encode("ascii") + b"\0"
    piece = b""
    with library.path.open("rb", buffering=0) as stream:
        for _ in range(min(library.size_bytes, _MAX_BYTES) // _CHUNK_BYTES + 1):
            # Short pieces leave the interpreter free for others between them.
            read = stream.read(_CHUNK_BYTES)
            piece = piece[-len(wanted) :] + read
            if wanted in piece:
                return True
            if not read:
                break
    return False
