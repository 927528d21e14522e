"""Reads headers that lie, by the million: `./dev fuzz gguf [--inputs N] [--seed S]`.

For every input there must be an answer and no exception, in a number of steps and with an amount of
memory that its own bytes bound. What fails is saved beside its number; --only reads it again.
"""

import argparse
import re
import resource
import signal
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import orchestrator_core.gguf.header as header_module
from fuzz.gguf_mutations import Sound, lie, sound_headers
from orchestrator_core.gguf.cursor import MAX_HEADER_BYTES, Cursor
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged, Header, More, parse_header
from orchestrator_core.gguf.reading import HeaderReading
from orchestrator_core.units import MIB
from support.checkout import ROOT

__all__ = ["Counting", "Tally", "examine", "fuzz"]

INPUTS: Final = 1_000_000
PROCESSES: Final = 2
BATCH: Final = 5_000
MEASURED: Final = 29
"""Of so many inputs one is read under a memory meter, which makes it several times slower."""

READ_BY_PIECES: Final = 13
HANG_S: Final = 20
ROOM_BYTES: Final = 512 * MIB
STEPS_FREE: Final = 64
BYTES_PER_BYTE: Final = 64
BYTES_FREE: Final = 256 * 1024
REASON_LENGTH_MAX: Final = 400
SAVED: Final = ROOT / ".dev" / "fuzz"
_VARIABLE: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|nan|inf"
)


@dataclass(slots=True)
class Tally:
    """What many inputs came to; failures name the number of the input and what was wrong."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    failures: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    inputs: int = 0
    steps_max: float = 0.0
    peak_max_bytes: int = 0

    def add(self, other: "Tally") -> None:
        self.outcomes += other.outcomes
        self.failures += other.failures
        self.inputs += other.inputs
        self.steps_max = max(self.steps_max, other.steps_max)
        self.peak_max_bytes = max(self.peak_max_bytes, other.peak_max_bytes)


class Counting(Cursor):
    """Counts the reads: each step moves on by a byte at least, or the parser could stand still."""

    total = 0

    def expect(self, count: int, what: str) -> int:
        Counting.total += 1
        return super().expect(count, what)


class _HangError(Exception):
    pass


@contextmanager
def _watched() -> Iterator[None]:
    def hang(_signal: int, _frame: object) -> None:
        raise _HangError(f"no answer within {HANG_S} s")

    plain, header_module.Cursor = header_module.Cursor, Counting
    before = signal.signal(signal.SIGVTALRM, hang)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        header_module.Cursor = plain


def examine(data: bytes, number: int = 0) -> str:
    """Read one input in every way, and name what came out; raises where a promise is broken."""
    answer = parse_header(data)
    if number % READ_BY_PIECES == 0:
        _check_pieces(data, answer)
    if isinstance(answer, More):
        assert len(data) < answer.needed_bytes <= MAX_HEADER_BYTES, answer
        return "more is needed"
    if isinstance(answer, Damaged):
        return f"damaged: {_checked(answer.reason)}"
    facts = facts_of(answer, file_bytes=None if number % 2 else len(data) + 4096)
    if isinstance(facts, ModelFacts):
        return "sound"
    return f"no facts: {_checked(facts.reason)}"


def _checked(reason: str) -> str:
    assert reason.isprintable(), reason
    assert 0 < len(reason) <= REASON_LENGTH_MAX, reason
    return _VARIABLE.sub("*", reason)


def _check_pieces(data: bytes, whole: Header | More | Damaged) -> None:
    """Whoever reads by pieces comes to the same answer, and reads no more than there is."""
    reading, answer = HeaderReading(len(data)), None
    while answer is None:
        assert reading.read_bytes < reading.wanted_bytes <= len(data) or not data
        answer = reading.add(data[reading.read_bytes : reading.wanted_bytes])
    if isinstance(whole, More):
        assert isinstance(answer, Damaged), answer
    else:
        # As texts, because a number that is none is not even the same as itself.
        assert repr(answer) == repr(whole), answer


def _run(numbers: range, seed: int) -> Tally:
    """Examine a row of inputs in this process."""
    tally = Tally()
    with _watched():
        for number in numbers:
            signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
            data = lie(number, seed, _sound())
            Counting.total = 0
            try:
                if number % MEASURED == 0:
                    outcome, peak = _metered(data, number)
                    tally.peak_max_bytes = max(tally.peak_max_bytes, peak)
                else:
                    outcome = examine(data, number)
                    _bound_steps(data, number, tally)
                tally.outcomes[outcome] += 1
            except Exception as error:  # noqa: BLE001 - any exception at all is the finding.
                tally.failures.append((number, f"{type(error).__name__}: {error}"))
            tally.inputs += 1
    return tally


def _bound_steps(data: bytes, number: int, tally: Tally) -> None:
    if number % READ_BY_PIECES:
        allowed = len(data) + STEPS_FREE
        assert Counting.total <= allowed, f"{Counting.total} steps for {len(data)} bytes"
        tally.steps_max = max(tally.steps_max, Counting.total / allowed)


def _metered(data: bytes, number: int) -> tuple[str, int]:
    tracemalloc.start()
    try:
        outcome = examine(data, number)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= BYTES_FREE + BYTES_PER_BYTE * len(data), f"{peak} bytes for {len(data)}"
    return outcome, peak


@cache
def _sound() -> Sequence[Sound]:
    return sound_headers()


def _confine() -> None:
    """Leave this process little room: an allocation by a declared length must fail here."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, hard))


def fuzz(inputs: int, seed: int, processes: int = PROCESSES) -> Tally:
    """Examine so many inputs; with one process it is done in this one, without the confinement."""
    rows = [range(start, min(start + BATCH, inputs)) for start in range(0, inputs, BATCH)]
    tally = Tally()
    if processes == 1:
        for row in rows:
            tally.add(_run(row, seed))
        return tally
    confine = _confine if sys.platform == "linux" else None
    with ProcessPoolExecutor(processes, get_context("spawn"), confine) as pool:
        for done in pool.map(_run, rows, [seed] * len(rows)):
            tally.add(done)
            if tally.inputs % (inputs // 10 or 1) < BATCH:
                print(f"{tally.inputs} of {inputs}", file=sys.stderr, flush=True)
    return tally


def _save(failures: Sequence[tuple[int, str]], seed: int) -> None:
    SAVED.mkdir(parents=True, exist_ok=True)
    for number, reason in failures[:20]:
        path = SAVED / f"gguf-{seed}-{number}.bin"
        path.write_bytes(lie(number, seed, _sound()))
        print(f"FAILED {number}: {reason[:300]}\n  {path}")
    print(f"read one again: ./dev fuzz gguf --seed {seed} --only {failures[0][0]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev fuzz gguf", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", type=int, help="the number of one input; its failure is shown whole"
    )
    options = parser.parse_args()
    if options.only is not None:
        print(examine(lie(options.only, options.seed, _sound()), options.only))
        return 0
    started = time.perf_counter()
    tally = fuzz(options.inputs, options.seed)
    took_s = time.perf_counter() - started
    for outcome, count in tally.outcomes.most_common():
        print(f"{count:9}  {outcome}")
    print(f"{tally.inputs} inputs, seed {options.seed}, {tally.inputs / took_s:,.0f} a second")
    print(f"most steps: {tally.steps_max:.2f} of those allowed by the size of the input")
    print(f"most memory for one input: {tally.peak_max_bytes / 1024:,.0f} KiB")
    print(f"failures: {len(tally.failures)}")
    if tally.failures:
        _save(tally.failures, options.seed)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
