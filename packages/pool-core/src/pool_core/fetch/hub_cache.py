"""Reads the cache that the hub's own tools keep: which whole files lie there, and of what commit.

A path counts only if it leads to a regular file inside the cache. Nothing else is believed: a name
says what a file should contain, and whoever uses the file hashes it.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.errors import Refusal

__all__ = ["CachedFile", "HubCache"]

_PREFIX: Final = "models--"
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DEFAULT_REVISION: Final = "main"
_REF_MAX_BYTES: Final = 256
_DEPTH_MAX: Final = 8
_LOOKED_AT_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of the cache; blob is where its bytes lie, and sha256 only what its name claims."""

    repo: str
    commit: str
    path: str
    blob: Path
    size_bytes: int
    sha256: str | None


class HubCache:
    """The cache in one folder, which need not exist; it is only ever read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, repo: str | None = None, commit: str | None = None) -> Iterator[CachedFile]:
        """All whole files, or those of one repository, or of one commit of it.

        The same content may come under several commits.
        """
        left = _Budget(_LOOKED_AT_MAX)
        root = Path(os.path.realpath(self.folder))
        for name, place in self._repositories(repo):
            for snapshot in _entries(place / "snapshots", left):
                if not _COMMIT.fullmatch(snapshot.name) or commit not in (None, snapshot.name):
                    continue
                if snapshot.is_dir(follow_symlinks=False):
                    origin = _Origin(root, name, snapshot.name, place / "blobs")
                    yield from _walk(origin, Path(snapshot.path), "", left)

    def find(self, sha256: str, size_bytes: int | None = None) -> Path | None:
        """Where the bytes lie whose name claims this content, with the right size if it is known.

        Only whole files have such a name, so that no snapshot has to be read for it.
        """
        if not _SHA256.fullmatch(sha256):
            return None
        root = Path(os.path.realpath(self.folder))
        for _, place in self._repositories(None):
            found = _whole_file(root, place / "blobs" / sha256)
            if found is not None and size_bytes in (None, found[1]):
                return found[0]
        return None

    def commit_of(self, repo: str, revision: str | None = None) -> str | None:
        """The commit that a branch or a tag meant when it was last asked for."""
        name = revision or _DEFAULT_REVISION
        if _COMMIT.fullmatch(name):
            return name
        if isinstance(safe_relative(name), Refusal):
            return None
        for _, place in self._repositories(repo):
            commit = _read_ref(place / "refs" / name)
            if commit is not None:
                return commit
        return None

    def _repositories(self, repo: str | None) -> Iterator[tuple[str, Path]]:
        if repo is not None:
            folder = self.folder / f"{_PREFIX}{repo.replace('/', '--')}"
            if _repo_of(folder.name) == repo and _is_folder(folder):
                yield repo, folder
            return
        for entry in _entries(self.folder, _Budget(_LOOKED_AT_MAX)):
            name = _repo_of(entry.name)
            if name is not None and entry.is_dir(follow_symlinks=False):
                yield name, Path(entry.path)


@dataclass(slots=True)
class _Budget:
    """How many entries are still looked at, so that no heap of files holds us up for ever."""

    entries: int

    def takes(self) -> bool:
        self.entries -= 1
        return self.entries >= 0


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the files of one snapshot come from; root is free of links."""

    root: Path
    repo: str
    commit: str
    blobs: Path


def _walk(origin: _Origin, folder: Path, prefix: str, left: _Budget) -> Iterator[CachedFile]:
    for entry in _entries(folder, left):
        path = prefix + entry.name
        if isinstance(safe_relative(path), Refusal):
            continue
        if entry.is_dir(follow_symlinks=False):
            if path.count("/") < _DEPTH_MAX:
                yield from _walk(origin, Path(entry.path), f"{path}/", left)
            continue
        file = _read_file(origin, Path(entry.path), path)
        if file is not None:
            yield file


def _read_file(origin: _Origin, place: Path, path: str) -> CachedFile | None:
    found = _whole_file(origin.root, place)
    if found is None:
        return None
    return CachedFile(
        repo=origin.repo,
        commit=origin.commit,
        path=path,
        blob=found[0],
        size_bytes=found[1],
        sha256=_claimed_sha256(origin, place),
    )


def _whole_file(root: Path, place: Path) -> tuple[Path, int] | None:
    """Where the bytes of a path lie and how many they are, if that is a file of the cache."""
    try:
        blob = Path(os.path.realpath(place, strict=True))
        status = blob.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISREG(status.st_mode) and blob.is_relative_to(root)
    return (blob, status.st_size) if is_ours else None


def _claimed_sha256(origin: _Origin, place: Path) -> str | None:
    """The name of the blob that the snapshot points to.

    That blob may be a link itself, into a store that all repositories share; there, files go by
    other names that are no SHA-256, so only the first step counts.
    """
    try:
        target = Path(os.path.normpath(place.parent / place.readlink()))
    except OSError:
        return None
    is_blob = target.parent == Path(os.path.normpath(origin.blobs))
    return target.name if is_blob and _SHA256.fullmatch(target.name) else None


def _repo_of(folder: str) -> str | None:
    """The repository of a folder of the cache; two dashes stand for the slash and nothing else."""
    name = folder.removeprefix(_PREFIX).replace("--", "/")
    return name if folder.startswith(_PREFIX) and _REPO.fullmatch(name) else None


def _read_ref(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, _REF_MAX_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text if _COMMIT.fullmatch(text) else None


def _entries(folder: Path, left: _Budget) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder by name, as far as the budget goes; none where nothing can be read."""
    try:
        with os.scandir(folder) as found:
            taken = [entry for entry in found if left.takes()]
    except OSError:
        return
    yield from sorted(taken, key=lambda entry: entry.name)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
