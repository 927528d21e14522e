"""Turns the last words of a worker and the way it ended into a code and one clear line: pure.

The words are an engine's, and an engine repeats what a model's file says: they are bounded and
cleaned before anyone looks at them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code
from pool_core.workers.causes import CAUSES, CRASH, OWN, Cause

__all__ = ["Failure", "classify"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker is not there."""

    code: Code
    message: str


_SIGNALS: Final = {
    2: "INT",
    4: "an illegal instruction: the engine is built for another CPU",
    6: "an abort",
    7: "a bus error",
    8: "an arithmetic fault",
    11: "a memory fault",
    15: "TERM",
}
_EXITS: Final = {
    126: "the engine's program may not be executed here: no permission, or a noexec mount",
    127: "the engine's program or a shared library that it needs is missing",
}
_KILL: Final = 9
# A shell reports an end by signal as 128 and the signal's number.
_SHELL_SIGNAL: Final = 128

_LONGEST: Final = 300
_LINE_CHARS: Final = 1000
_ALL_CHARS: Final = 65_536

_ESCAPE: Final = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]")
_STAMP: Final = re.compile(r"^[\d.]{3,20} (?P<level>[A-Z]) (?:\w{1,20} +)?")
# At these levels an engine prints what the model's file says of itself: no cause is read there.
_CHATTER: Final = frozenset("ID")


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    level: str | None


def classify(
    lines: Sequence[str],
    exit_code: int | None,
    *,
    was_ready: bool,
    engine: str | None = None,
) -> Failure:
    """Judge the log's last lines first, then how the process ended; exit_code may be unknown.

    A worker that was ready has loaded: the words of its loading explain nothing any more.
    """
    words = _words(lines)
    if not was_ready:
        for cause in CAUSES:
            found = _explain(cause, words, engine)
            if found is not None:
                return Failure(cause.code, found)
    code = Code.WORKER_LOST if was_ready else Code.WORKER_START_FAILED
    ending, last = _ending(exit_code), _last(words)
    return Failure(code, f"{ending}; its last words: {last}" if last else ending)


def _explain(cause: Cause, words: Sequence[_Line], engine: str | None) -> str | None:
    for line in words:
        if line.level in _CHATTER:
            continue
        match = cause.pattern.search(line.text)
        if match is not None:
            build = f"; engine {engine}" if engine else ""
            named = {name: value or "" for name, value in match.groupdict().items()}
            named |= {"line": line.text.removeprefix(OWN), "engine": build}
            return cause.text.format_map(named)[:_LONGEST]
    return None


def _words(lines: Sequence[str]) -> list[_Line]:
    """The last lines within a budget of characters, oldest first."""
    budget = _ALL_CHARS
    kept: list[_Line] = []
    for raw in reversed(lines):
        line = _ESCAPE.sub("", raw[:_LINE_CHARS])
        budget -= len(line) + 1
        if budget < 0:
            break
        plain = "".join(char if char.isprintable() else " " for char in line).strip()
        stamp = _STAMP.match(plain)
        kept.append(
            _Line(plain[stamp.end() :], stamp["level"]) if stamp else _Line(plain, level=None)
        )
    kept.reverse()
    return kept


def _last(words: Sequence[_Line]) -> str | None:
    # Our worker's own announcements are JSON; they say nothing about a failure.
    telling = [line.text for line in words if line.text and not line.text.startswith("{")]
    crash = next((text for text in telling if CRASH.search(text)), None)
    chosen = crash or (telling[-1] if telling else None)
    return chosen and chosen.removeprefix(OWN)[:_LONGEST]


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "the worker ended"
    signum = -exit_code if exit_code < 0 else exit_code - _SHELL_SIGNAL
    if signum == _KILL:
        return "the worker was killed: the host may have run out of memory"
    if exit_code < 0 or signum in _SIGNALS:
        return f"the worker was ended by {_SIGNALS.get(signum, f'signal {signum}')}"
    known = _EXITS.get(exit_code)
    return f"the worker ended with exit code {exit_code}" + (f": {known}" if known else "")
