"""What a fake hub holds: contents of any size, repositories with commits, and how the API tells it.

A content is handed out in pieces and hashed once, so that a file of gigabytes costs no memory.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Content", "Entry", "Generated", "Repository", "content_of"]

_PIECE_BYTES = 1 << 20
_LFS_SUFFIXES = (".gguf", ".bin", ".safetensors")
_LFS_FROM_BYTES = 10 << 20
_POINTER_BYTES = 133


@dataclass(frozen=True)
class Generated:
    """Bytes made on demand: the head as given, then one block again and again."""

    size_bytes: int
    head: bytes = b""
    seed: bytes = b"hub"


@dataclass(frozen=True)
class Content:
    """Bytes that can be read from anywhere; read(start, end) never goes beyond the size."""

    size_bytes: int
    read: Callable[[int, int], bytes]

    def pieces(self, start: int, end: int, piece_bytes: int = _PIECE_BYTES) -> Iterator[bytes]:
        """The bytes from start to end, piece by piece."""
        while start < end:
            piece = self.read(start, min(end, start + piece_bytes))
            if not piece:
                raise AssertionError("a file of the fake hub became shorter while it was served")
            yield piece
            start += len(piece)

    def digest(self, kind: str, prefix: bytes = b"") -> str:
        """The hash of all bytes."""
        state = hashlib.new(kind, prefix)
        for piece in self.pieces(0, self.size_bytes):
            state.update(piece)
        return state.hexdigest()


def content_of(source: bytes | Path | Generated) -> Content:
    """Read bytes, a file or a recipe the same way."""
    if isinstance(source, Path):
        return Content(source.stat().st_size, lambda start, end: _read_file(source, start, end))
    if isinstance(source, Generated):
        return _generated(source)
    return Content(len(source), lambda start, end: source[start:end])


def _read_file(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def _generated(recipe: Generated) -> Content:
    block = hashlib.shake_256(recipe.seed).digest(_PIECE_BYTES)
    head = recipe.head[: recipe.size_bytes]

    def read(start: int, end: int) -> bytes:
        end = min(end, recipe.size_bytes)
        if start < len(head):
            return head[start:end]
        offset = start % len(block)
        return block[offset : offset + end - start]

    return Content(recipe.size_bytes, read)


@dataclass(frozen=True)
class Entry:
    """One file of a commit; large files are kept apart and named by their SHA-256."""

    path: str
    content: Content
    sha1: str
    sha256: str
    is_large: bool

    @classmethod
    def of(cls, path: str, source: bytes | Path | Generated) -> "Entry":
        """Hash a source and decide how the hub keeps it."""
        content = content_of(source)
        prefix = b"blob %d\0" % content.size_bytes
        is_large = path.endswith(_LFS_SUFFIXES) or content.size_bytes >= _LFS_FROM_BYTES
        sha256 = content.digest("sha256")
        # What the repository itself holds of a large file is a pointer, and only that is hashed.
        pointer = b"blob %d\0%b" % (_POINTER_BYTES, sha256.encode())
        sha1 = hashlib.sha1(pointer).hexdigest() if is_large else content.digest("sha1", prefix)
        return cls(path, content, sha1, sha256, is_large)

    @property
    def etag(self) -> str:
        """What names the content in headers."""
        return f'"{self.sha256 if self.is_large else self.sha1}"'

    def in_tree(self) -> dict[str, Any]:
        """The file as a listing of the tree tells it."""
        size = self.content.size_bytes
        told: dict[str, Any] = {"type": "file", "oid": self.sha1, "size": size, "path": self.path}
        if self.is_large:
            told["lfs"] = {"oid": self.sha256, "size": size, "pointerSize": _POINTER_BYTES}
        return told

    def as_sibling(self, *, blobs: bool) -> dict[str, Any]:
        """The file as the page of its model tells it."""
        size = self.content.size_bytes
        told: dict[str, Any] = {"rfilename": self.path}
        if blobs:
            told |= {"size": size, "blobId": self.sha1}
            if self.is_large:
                told["lfs"] = {"sha256": self.sha256, "size": size, "pointerSize": _POINTER_BYTES}
        return told


@dataclass
class Repository:
    """All commits of one repository, and where its names point."""

    name: str
    gated: bool
    private: bool
    accepted: bool
    license: str | None
    commits: dict[str, dict[str, Entry]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, entries: Mapping[str, Entry]) -> str:
        """Record a state of all files; main moves to it."""
        told = [self.name, len(self.commits), [(e.path, e.sha256) for e in entries.values()]]
        commit = hashlib.sha1(json.dumps(told).encode()).hexdigest()
        self.commits[commit] = dict(sorted(entries.items()))
        self.branches["main"] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag or a commit."""
        named = self.branches | self.tags | dict(zip(self.commits, self.commits, strict=True))
        return named.get(revision.removeprefix("refs/heads/"))

    def info(self, commit: str, *, blobs: bool) -> dict[str, Any]:
        """What the page of the model tells."""
        entries = self.commits[commit].values()
        tags = ["gguf", *([f"license:{self.license}"] if self.license else [])]
        told: dict[str, Any] = {
            "_id": hashlib.sha1(self.name.encode()).hexdigest()[:24],
            "id": self.name,
            "modelId": self.name,
            "author": self.name.partition("/")[0],
            "sha": commit,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "tags": tags,
            "downloads": 0,
            "likes": 0,
            "siblings": [entry.as_sibling(blobs=blobs) for entry in entries],
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-01T00:00:00.000Z",
        }
        if self.license:
            told["cardData"] = {"license": self.license}
        return told

    def tree(self, commit: str, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Folders and files below a folder; without recursion only those directly in it."""
        start = f"{folder}/" if folder else ""
        told: dict[str, dict[str, Any]] = {}
        for path, entry in self.commits[commit].items():
            if not path.startswith(start):
                continue
            parts = path[len(start) :].split("/")
            depth = len(parts) if recursive else 1
            for length in range(1, min(depth, len(parts) - 1) + 1):
                name = start + "/".join(parts[:length])
                oid = hashlib.sha1(name.encode()).hexdigest()
                told.setdefault(name, {"type": "directory", "oid": oid, "size": 0, "path": name})
            if len(parts) == 1 or recursive:
                told[path] = entry.in_tree()
        return list(told.values())

    def refs(self) -> dict[str, Any]:
        """Branches and tags."""
        return {
            "branches": [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in self.branches.items()
            ],
            "converts": [],
            "tags": [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
                for name, commit in self.tags.items()
            ],
        }
