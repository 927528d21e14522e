"""What the answers of a hub say: commits, files, licences. Pure, and nothing in them is trusted.

An answer that is not shaped like a hub's is refused as a whole; a file whose name could not be
joined to a folder safely is left out, so that nobody can ask for it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.errors import Code, Refusal

__all__ = [
    "FILES_MAX",
    "Found",
    "Listing",
    "RemoteFile",
    "fault_of_files",
    "file_url",
    "info_url",
    "next_query",
    "read_info",
    "read_tree",
    "tree_url",
]

FILES_MAX: Final = 10_000

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HINT: Final = "check HF_ENDPOINT and the proxy variables"
_SIZE_MAX_BYTES: Final = 1 << 53
_LICENSE_TAG: Final = "license:"
_LICENSE_LENGTH_MAX: Final = 64
_NEXT: Final = re.compile(r'<(?P<url>[^<>\s]{1,4096})>\s*;[^,]*\brel="?next"?', re.IGNORECASE)
_QUERY: Final = re.compile(r"[A-Za-z0-9%&=_.~+/:,-]{1,3072}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a hub at one commit; the hub tells the SHA-256 of large files only."""

    path: str
    size_bytes: int
    sha256: str | None
    url: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit, with the files that can be asked for.

    gated says that its content is only for those who accepted its terms.
    """

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    license: str | None = None
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What the page of a model tells before its files are listed."""

    commit: str
    license: str | None
    gated: bool


def info_url(endpoint: str, repo: str, revision: str | None) -> str:
    """Where the hub tells of a model."""
    page = f"{endpoint}/api/models/{repo}"
    return page if revision is None else f"{page}/revision/{quote(revision, safe='')}"


def tree_url(endpoint: str, repo: str, commit: str) -> str:
    """Where the hub lists the files of a commit, without a query."""
    return f"{endpoint}/api/models/{repo}/tree/{commit}"


def file_url(endpoint: str, repo: str, commit: str, path: str) -> str:
    """Where the hub offers a file."""
    return f"{endpoint}/{repo}/resolve/{commit}/{quote(path)}"


def read_info(body: bytes, *, revision: str | None) -> Found | Refusal:
    """Read the page of a model; a commit that was asked for must be the one that is told."""
    told = _mapping(_json(body))
    if told is None:
        return _odd("the page of the model is no JSON object")
    commit = told.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        return _odd("it names no commit")
    if revision is not None and _COMMIT.fullmatch(revision) and commit != revision:
        return _odd(f"it was asked for commit {revision} and tells of {commit}")
    return Found(commit, _license(told), gated=told.get("gated") not in (None, False, "false"))


def read_tree(
    body: bytes, *, endpoint: str, repo: str, commit: str
) -> tuple[RemoteFile | None, ...] | Refusal:
    """Read one page of a listing; what is no usable file is None, so that it still counts."""
    told = _json(body)
    if not isinstance(told, list):
        return _odd("the list of files is no JSON array")
    read: list[RemoteFile | None] = []
    for entry in cast("list[object]", told):
        file = _read_entry(entry, file_url(endpoint, repo, commit, ""))
        if isinstance(file, Refusal):
            return file
        read.append(file)
    return tuple(read)


def fault_of_files(files: Sequence[RemoteFile]) -> Refusal | None:
    """Why these cannot be the files of one commit."""
    is_sound = len({file.path for file in files}) == len(files)
    return None if is_sound else _odd("it lists a file twice")


def next_query(headers: Mapping[str, str]) -> str | Refusal | None:
    """The query of the next page of a listing; None on the last page.

    Only the query counts: where to ask is our own knowledge, not the answer's.
    """
    link = headers.get("link", "")
    if "next" not in link:
        return None
    found = _NEXT.search(link)
    query = found["url"].partition("?")[2] if found is not None else ""
    return query if _QUERY.fullmatch(query) else _odd("it names no next page of its list")


def _read_entry(entry: object, folder_url: str) -> RemoteFile | Refusal | None:
    told = _mapping(entry)
    if told is None or told.get("type") not in ("file", "directory"):
        return _odd("an entry of its list is neither a file nor a folder")
    path, size = told.get("path"), told.get("size")
    if not isinstance(path, str):
        return _odd("a file has no name")
    if told["type"] == "directory" or isinstance(safe_relative(path), Refusal):
        return None
    if not _is_size(size):
        return _odd(f"the size of {path[:80]} is no number of bytes")
    large = told.get("lfs")
    sha256 = None if large is None else _large_sha256(_mapping(large), size)
    if isinstance(sha256, Refusal):
        return sha256
    return RemoteFile(path, cast("int", size), sha256, folder_url + quote(path))


def _large_sha256(told: Mapping[str, object] | None, size: object) -> str | Refusal:
    oid = told.get("oid") if told is not None else None
    if not isinstance(oid, str) or not _SHA256.fullmatch(oid):
        return _odd("the content of a large file is named by no SHA-256")
    if told is not None and told.get("size", size) != size:
        return _odd("a large file has two sizes")
    return oid


def _license(told: Mapping[str, object]) -> str | None:
    card = _mapping(told.get("cardData")) or {}
    tags = told.get("tags")
    listed = cast("list[object]", tags) if isinstance(tags, list) else []
    tagged = (tag for tag in listed if isinstance(tag, str) and tag.startswith(_LICENSE_TAG))
    name = card.get("license") or next((tag.removeprefix(_LICENSE_TAG) for tag in tagged), None)
    if not isinstance(name, str) or not name.isprintable():
        return None
    return name.strip()[:_LICENSE_LENGTH_MAX] or None


def _is_size(value: object) -> bool:
    # A truth value is a number to Python, but no size.
    return type(value) is int and 0 <= value <= _SIZE_MAX_BYTES


def _mapping(value: object) -> Mapping[str, object] | None:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _odd(reason: str) -> Refusal:
    line = f"the hub does not answer like a hub: {reason}; {_HINT}"
    return Refusal(Code.INTERNAL, line)
