"""Runs the whole suite in parts, two at a time, and closes with one line for all of them.

Called by ./dev test; every option goes to each part. What a part says is shown as it comes, one
part after another, and the last line has the form of pytest's own.
"""

import collections
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

ROOT = Path(__file__).resolve().parents[1]
# In the order of their starts. `pool` leaves workers alone that have a port and do not listen yet:
# it runs beside the parts that start none, so that nobody else takes such a port. The workers of
# `hosts` have networks of their own. The last two are of about the same length.
PARTS = ("hosts", "pool", "integration", "rest", "faults", "e2e", "machines")
AT_A_TIME = 2
# It waits for cables and clocks most of its time, and takes the place of no other.
ASIDE = "hosts"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY_S = 0.2
# A test that was interrupted may leave a thread behind that its process would wait for.
PATIENCE_S = 30.0
WIDTH = 80

# Bad news first, as pytest says it.
WORDS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
CLOSING = re.compile(
    r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+|no tests ran) in \d+\.\d+s(?: \([\d:]+\))?(?: =+)?$"
)
COUNT = re.compile(r"(\d+) ([a-z]+)")
BAD = re.compile(r"^(?:FAILED|ERROR) \S")


def counts_of(line: str) -> dict[str, int] | None:
    """The numbers of a closing line; None for any other line."""
    found = CLOSING.match(line)
    if found is None:
        return None
    return {word.removesuffix("s"): int(number) for number, word in COUNT.findall(found[1])}


@dataclass(frozen=True)
class Told:
    """What the output of one part comes to; without counts it ended before it could say so."""

    counts: dict[str, int] | None
    bad: tuple[str, ...]

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Told":
        """Take an output apart; what a test of pytest itself prints comes before the true end."""
        counts: dict[str, int] | None = None
        bad: list[str] = []
        for line in lines:
            found = counts_of(line)
            counts = counts if found is None else found
            if BAD.match(line):
                bad.append(line)
        return cls(counts, tuple(bad))


class Part:
    """One part of the suite: waits, runs, has ended."""

    def __init__(self, name: str, options: Sequence[str], folder: Path) -> None:
        self.name = name
        self._options = options
        self._output = folder / f"{name}.txt"
        self._output.touch()
        self._shown_bytes = 0
        self.process: Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """True from its start to its end."""
        return self.process is not None and self.process.poll() is None

    @property
    def code(self) -> int:
        """How it ended; a part that was never started is an interrupted one."""
        return 2 if self.process is None else abs(self.process.wait())

    def start(self) -> None:
        """Begin. It leads a session of its own, so that a Ctrl-C reaches it once: from us."""
        argv = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")]
        # Several cannot write one record of what failed last, and counts are read as plain text.
        argv += ["--rootdir", str(ROOT), "-p", "no:cacheprovider", "--color=no"]
        argv += [f"--part={self.name}", *self._options, str(ROOT / "tests")]
        with self._output.open("wb") as stream:
            self.process = Popen(
                argv, stdin=DEVNULL, stdout=stream, stderr=STDOUT, start_new_session=True
            )

    def interrupt(self) -> None:
        """Let it end early; it then says how far it came."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Leave it no time at all, nor what it started in its own session."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def show(self) -> None:
        """Print what came since the last time."""
        with self._output.open("rb") as stream:
            stream.seek(self._shown_bytes)
            piece = stream.read()
        self._shown_bytes += len(piece)
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()

    def told(self) -> Told:
        """What it came to."""
        return Told.read(self._output.read_text("utf-8", "replace").splitlines())


@contextlib.contextmanager
def interruptible(parts: Sequence[Part]) -> Generator[list[float]]:
    """What would end us interrupts the parts instead; the times of that are handed out."""
    heard: list[float] = []

    def interrupt(_number: int, _frame: object) -> None:
        heard.append(time.monotonic())
        for part in parts:
            part.interrupt()

    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        yield heard
    finally:
        for part in parts:
            part.interrupt()


def has_room(parts: Sequence[Part]) -> bool:
    """Whether one more part may begin."""
    return sum(part.is_running and part.name != ASIDE for part in parts) < AT_A_TIME


def run(parts: Sequence[Part], heard: Sequence[float]) -> None:
    """Run all parts, so many at a time, and show them in their order."""
    waiting = collections.deque(parts)
    shown = collections.deque(parts)
    title(shown[0])
    while shown:
        while waiting and not heard and has_room(parts):
            waiting.popleft().start()
        part = shown[0]
        if heard and time.monotonic() > heard[0] + PATIENCE_S:
            part.end()
        over = not part.is_running and (part.process is not None or bool(heard))
        part.show()
        if not over:
            time.sleep(LOOK_EVERY_S)
            continue
        shown.popleft()
        if shown:
            title(shown[0])


def title(part: Part) -> None:
    """Say whose output follows."""
    print(f" {part.name} ".center(WIDTH, "="), flush=True)


def closing_line(counts: dict[str, int], seconds: float) -> str:
    """One line in pytest's own words."""
    told = [
        f"{number} {word}{'s' if word in ('warning', 'error') and number != 1 else ''}"
        for word in WORDS
        if (number := counts.get(word, 0))
    ]
    whole = int(seconds)
    clock = f" ({whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02})" if whole >= 60 else ""
    return f" {', '.join(told) or 'no tests ran'} in {seconds:.2f}s{clock} ".center(WIDTH, "=")


def close(parts: Sequence[Part], seconds: float) -> int:
    """Say what all came to; the first bad exit code is that of the whole."""
    total: collections.Counter[str] = collections.Counter()
    print(" all parts ".center(WIDTH, "="))
    for part in parts:
        told = part.told()
        if told.counts is None:
            total["error"] += 1
            fate = f"ended with {part.code} before its closing line"
            print(f"ERROR {part.name} {fate if part.process else 'was not started'}")
        total.update(told.counts or {})
        for line in told.bad:
            print(line)
    print(closing_line(total, seconds), flush=True)
    codes = [part.code for part in parts]
    return next((code for code in codes if code), 0)


def main(options: Sequence[str]) -> int:
    """Run all parts and return the exit code of the whole."""
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="llorch-tests-") as folder:
        parts = [Part(name, options, Path(folder)) for name in PARTS]
        with interruptible(parts) as heard:
            run(parts, heard)
        return close(parts, time.monotonic() - started_at)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
