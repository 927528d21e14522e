"""Turns the last words of a worker into a code and one clear line: pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code

__all__ = ["Failure", "classify"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker is not there."""

    code: Code
    message: str


_MODEL: Final = (
    r"unknown model architecture",
    r"invalid magic characters|failed to read magic|failed to read header|is not a GGUF file",
    r"this software only supports up to version|GGUF version \d+ is not supported",
    r"not within the file bounds|the file is empty|incomplete|it is damaged|names no model arch",
    r"missing tensor|wrong (shape|number of tensors)|unknown (pre-)?tokenizer|cannot find tokenizer",
    r"key not found in model|error loading model",
)
_MEMORY: Final = (
    r"insufficient memory|failed to allocate|out of memory|bad_alloc|cannot allocate memory",
    r"memory are available",
)
_PORT: Final = (r"couldn't bind HTTP server socket|address already in use",)
_LIBRARY: Final = (
    r"error while loading shared libraries|needs the system library|the engine needs \S+\.so",
    r"the engine is not installed|this CPU has no ",
)
_OUR_OWN: Final = (r"^llorch-worker: error: --",)

# The order is that of causes: a refused allocation also prints "failed to load model".
_RULES: Final = (
    (Code.PORT_IN_USE, _PORT),
    (Code.WORKER_START_FAILED, _LIBRARY),
    (Code.WORKER_START_FAILED, _MEMORY),
    (Code.MODEL_INCOMPATIBLE, _MODEL),
    (Code.WORKER_START_FAILED, _OUR_OWN),
)
_STAMP: Final = re.compile(r"^[\d.]+ [A-Z] (?:\w+ +)?|^llorch-worker: error: ")
_SIGNALS: Final = {4: "an illegal instruction", 6: "an abort", 9: "a kill", 11: "a memory fault"}
_LONGEST: Final = 300


def classify(lines: Sequence[str], exit_code: int | None, *, was_ready: bool) -> Failure:
    """Judge the log's last lines first, then how the process ended; exit_code may be unknown."""
    fallback = Code.WORKER_LOST if was_ready else Code.WORKER_START_FAILED
    if not was_ready:
        for code, patterns in _RULES:
            for pattern in patterns:
                line = _find(lines, pattern)
                if line is not None:
                    return Failure(code, _clean(line))
    ending = _ending(exit_code)
    last = next((_clean(line) for line in reversed(lines) if _tells(line)), None)
    return Failure(fallback, f"{ending}: {last}" if last else ending)


def _find(lines: Sequence[str], pattern: str) -> str | None:
    wanted = re.compile(pattern, re.IGNORECASE)
    return next((line for line in lines if wanted.search(line)), None)


def _clean(line: str) -> str:
    return _STAMP.sub("", line.strip())[:_LONGEST]


def _tells(line: str) -> bool:
    # Our worker's own announcements are JSON; they say nothing about a failure.
    return bool(line.strip()) and not line.startswith("{")


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "the worker ended"
    if exit_code < 0:
        number = -exit_code
        return f"the worker was ended by {_SIGNALS.get(number, f'signal {number}')}"
    return f"the worker ended with exit code {exit_code}"
