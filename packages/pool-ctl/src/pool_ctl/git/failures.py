"""Reads from git's words why it failed, and says it in one line with what helps. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.plain import one_line, shell_word

__all__ = ["explain", "reason_of"]

_FILES_SHOWN: Final = 5
_SIGNS: Final = ("fatal: ", "error: ", "remote: ")
_IN_MODULE: Final = re.compile(r"in submodule path '([^']*)'")
# What git says last of all, when it has given the reason before.
_EMPTY_WORDS: Final = ("fatal: Could not reset index file", "error: could not detach HEAD")


@dataclass(frozen=True, slots=True)
class _Cause:
    """A pattern of one line of git's words, and what is said about it."""

    code: Code
    pattern: re.Pattern[str]
    say: Callable[[re.Match[str], str], str]


def _own_words(found: re.Match[str], _text: str) -> str:
    return _bare(found.string)


def _with(advice: str) -> Callable[[re.Match[str], str], str]:
    return lambda found, _text: f"{_bare(found.string)}: {advice}"


def _lock(found: re.Match[str], _text: str) -> str:
    return (
        f"{found[1]} is there: another git may be at work in this checkout; "
        "if none is, remove that file"
    )


def _stranger(found: re.Match[str], _text: str) -> str:
    return (
        f"{_bare(found.string)}: if you trust it, "
        f"git config --global --add safe.directory {shell_word(found[1])}"
    )


def _transport(found: re.Match[str], _text: str) -> str:
    if found[1] == "ext":
        return "a remote that is a command (ext::) is never used: give it another URL"
    return f"git does not allow the transport {found[1]} here: protocol.{found[1]}.allow decides"


def _overwritten(_found: re.Match[str], text: str) -> str:
    files = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    shown = ", ".join(files[:_FILES_SHOWN]) + (", ..." if len(files) > _FILES_SHOWN else "")
    module = _IN_MODULE.search(text)
    where = f" in {module[1]}" if module else ""
    return f"these files{where} would be overwritten: {shown}; move, commit or stash them first"


def _hidden(found: re.Match[str], _text: str) -> str:
    word = shell_word(found[1])
    return (
        f"{found[1]} has changes that git was told not to look at: save them, then "
        f"git update-index --no-assume-unchanged --no-skip-worktree -- {word}"
    )


def _cause(code: Code, pattern: str, say: Callable[[re.Match[str], str], str]) -> _Cause:
    return _Cause(code, re.compile(pattern), say)


_UNREACHABLE: Final = (
    "Could not resolve host",
    "Could not resolve proxy",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Connection (?:refused|timed out|reset|closed)",
    "Failed to connect",
    "Network is unreachable",
    "No route to host",
    "Operation (?:timed out|too slow)",
    "unable to connect to",
    "returned error: 5",
    "RPC failed",
    "hung up unexpectedly",
    "early EOF",
    "does not appear to be a git repository",
    "^fatal: repository '.*' does not exist",
    "Could not read from remote repository",
    "unable to access",
)
# Git gives no cause when a write has failed; of another one it would have said more.
_FULL: Final = (
    "No space left on device",
    "Disk quota exceeded",
    "Out of diskspace",
    "unable to write file [^:]*$",
)
_NOT_LET_IN: Final = (
    r"Permission denied \(",
    "Authentication failed",
    "could not read (?:Username|Password)",
    "Access denied",
    r"Permission to \S+ denied",
    "returned error: 40[13]",
)
_OTHER_OWNER: Final = (
    r"(?:detected dubious ownership in repository at '|unsafe repository \(')([^']*)'"
)
_OVERWRITTEN: Final = (
    "(?:untracked working tree files|local changes to the following files) would be"
)

# The first that fits counts: what happened here comes before what may follow from it.
_CAUSES: Final = (
    _cause(Code.CONFLICT, r"Unable to create '(.*\.lock)': File exists", _lock),
    _cause(Code.GIT_FAILED, _OTHER_OWNER, _stranger),
    _cause(Code.GIT_FAILED, r"transport '([^']*)' not allowed", _transport),
    _cause(Code.CONFLICT, _OVERWRITTEN, _overwritten),
    _cause(Code.CONFLICT, "Entry '(.*)' not uptodate", _hidden),
    _cause(Code.DISK_LOW, "|".join(_FULL), _with("free some space first")),
    _cause(
        Code.GIT_FAILED,
        "but it did not contain|not our ref|reference is not a tree",
        _with("that commit was never pushed to the submodule's remote, or it is gone from there"),
    ),
    _cause(
        Code.CONFLICT,
        "Unable to find current revision in submodule path",
        _with("the branch there has no commit yet: git switch to another one in that folder"),
    ),
    _cause(
        Code.NOT_FOUND,
        "Unable to find .*revision in submodule path",
        _with("the branch that .gitmodules names for it is not at its remote"),
    ),
    _cause(
        Code.GIT_FAILED,
        r"not a git repository: .*/\.git/(?:modules|worktrees)/",
        _with("that folder is lost: move the one that points to it away, then pull again"),
    ),
    _cause(
        Code.BAD_KEY,
        "Host key verification failed",
        _with("connect to that host once with ssh and accept its key"),
    ),
    _cause(
        Code.BAD_KEY,
        "|".join(_NOT_LET_IN),
        _with("nobody is asked for a password here: use an ssh agent or a credential helper"),
    ),
    _cause(
        Code.NOT_FOUND,
        "[Rr]epository (?:'.*' )?not found",
        _with("look at its URL with git remote -v, and at your access"),
    ),
    _cause(Code.UNREACHABLE, "|".join(_UNREACHABLE), _own_words),
)


def reason_of(text: str) -> str:
    """The line of git's words that says most."""
    said = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    lines = [line for line in said if not line.startswith(_EMPTY_WORDS)] or said
    for sign in _SIGNS:
        for line in lines:
            if line.startswith(sign):
                return _bare(line)
    return _bare(lines[-1]) if lines else "it gave no reason"


def explain(what: str, code: int, text: str) -> Refusal:
    """Turn the failure of a step into one line and the code that belongs to its cause."""
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    for cause in _CAUSES:
        for line in lines:
            found = cause.pattern.search(line)
            if found is not None:
                return Refusal(cause.code, f"{what}: {one_line(cause.say(found, text))}")
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Refusal(Code.GIT_FAILED, f"{what} ended with {ending}: {reason_of(text)}")


def _bare(line: str) -> str:
    for sign in _SIGNS:
        line = line.strip().removeprefix(sign)
    return one_line(line)
