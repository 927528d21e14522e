"""Reads what git tells about commits and branches, strictly. Pure: bytes in, facts out."""

import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Refusal
from pool_ctl.git.plain import text_of
from pool_ctl.git.porcelain import not_understood

__all__ = [
    "COMMIT_FORMAT",
    "GRAPH_FORMAT",
    "REF_FORMAT",
    "Branch",
    "Commit",
    "parse_commits",
    "parse_refs",
]

_COMMIT_FIELDS: Final = ("%H", "%h", "%P", "%an", "%aI", "%D", "%s")
_REF_FIELDS: Final = (
    "%(refname)",
    "%(objectname)",
    "%(HEAD)",
    "%(symref)",
    "%(upstream)",
    "%(upstream:remotename)",
    "%(upstream:track,nobracket)",
    "%(committerdate:iso-strict)",
    "%(contents:subject)",
)
COMMIT_FORMAT: Final = "--format=" + "%x00".join(_COMMIT_FIELDS)
GRAPH_FORMAT: Final = "--format=%h%d %s (%an, %ad)"
REF_FORMAT: Final = "--format=" + "%00".join(_REF_FIELDS)

_OID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_TRACK: Final = re.compile(r"(?:ahead (\d+))?(?:, )?(?:behind (\d+))?")
_LOCAL: Final = "refs/heads/"
_REMOTE: Final = "refs/remotes/"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the history; refs are the branches and tags that name it."""

    id: str
    short: str
    parents: tuple[str, ...]
    author: str
    at: str
    refs: tuple[str, ...]
    subject: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A local branch, or what was last seen of a remote one; counts are against its upstream."""

    name: str
    full_name: str
    commit: str
    at: str
    subject: str
    is_remote: bool = False
    is_current: bool = False
    upstream: str | None = None
    remote: str | None = None
    ahead: int | None = None
    behind: int | None = None
    is_gone: bool = False


def parse_commits(data: bytes) -> list[Commit] | Refusal:
    """Read the answer of `git log -z` with COMMIT_FORMAT."""
    fields = data.split(b"\0")
    count, rest = divmod(len(fields) - 1, len(_COMMIT_FIELDS))
    if rest or fields[-1]:
        return not_understood("log", data)
    size = len(_COMMIT_FIELDS)
    found = [_commit(fields[at * size : (at + 1) * size]) for at in range(count)]
    commits = [commit for commit in found if commit is not None]
    return commits if len(commits) == count else not_understood("log", data)


def parse_refs(data: bytes) -> list[Branch] | Refusal:
    """Read the answer of `git for-each-ref` with REF_FORMAT; names of other names are left out."""
    branches: list[Branch] = []
    for line in data.split(b"\n"):
        if not line:
            continue
        fields = [text_of(field) for field in line.split(b"\0")]
        if len(fields) != len(_REF_FIELDS) or not _OID.fullmatch(fields[1]):
            return not_understood("for-each-ref", line)
        if fields[3]:
            continue
        branch = _branch(fields)
        if branch is None:
            return not_understood("for-each-ref", line)
        branches.append(branch)
    return branches


def _commit(fields: list[bytes]) -> Commit | None:
    oid, short, parents, author, at, refs, subject = (text_of(field) for field in fields)
    if not _OID.fullmatch(oid) or not oid.startswith(short):
        return None
    names = tuple(name for name in refs.split(", ") if name)
    return Commit(oid, short, tuple(parents.split()), author, at, names, subject)


def _branch(fields: list[str]) -> Branch | None:
    full, commit, head, _, upstream, remote, track, at, subject = fields
    is_remote = full.startswith(_REMOTE)
    if not is_remote and not full.startswith(_LOCAL):
        return None
    counts = _TRACK.fullmatch("" if track == "gone" else track)
    if counts is None:
        return None
    follows = bool(upstream) and track != "gone"
    return Branch(
        name=full.removeprefix(_REMOTE).removeprefix(_LOCAL),
        full_name=full,
        commit=commit,
        at=at,
        subject=subject,
        is_remote=is_remote,
        is_current=head == "*",
        upstream=upstream or None,
        remote=remote or None,
        ahead=int(counts[1] or 0) if follows else None,
        behind=int(counts[2] or 0) if follows else None,
        is_gone=track == "gone",
    )
