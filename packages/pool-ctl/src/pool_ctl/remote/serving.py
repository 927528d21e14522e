"""Serves one call of `remote-exec`: the magic, a request, one run of llorch-pool, its exit code.

Whoever called holds a lease: when frames stop coming, or the connection ends, so does the run.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import DataError, Refusal
from orchestrator_core.stream.remote_frames import (
    DATA_BYTES_MAX,
    LEASE_S,
    MAGIC,
    FrameReader,
    Kind,
    frame,
    number_of,
    read_request,
)
from pool_ctl.remote.leashed import FrameWriter, Leashed

__all__ = ["Door", "Patience", "serve"]

_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL})
_FAILURE: Final = 1
_USAGE: Final = 2
_OURS: Final = "remote-exec"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the caller may be silent, and how long a program may take to end."""

    lease_s: float = LEASE_S
    grace_s: float = 5.0
    monotonic_s: Callable[[], float] = SystemClock().monotonic_s


@dataclass(frozen=True, slots=True)
class Door:
    """Where frames come from and go to, and the program that answers requests, with its version."""

    program: Path
    env: Mapping[str, str]
    version: str = ""
    stdin: int = 0
    stdout: int = 1


@dataclass(slots=True)
class _Service:
    """One call under way."""

    door: Door
    patience: Patience
    writer: FrameWriter
    wake_read: int
    wake_write: int
    reader: FrameReader = field(default_factory=FrameReader)
    program: Leashed | None = None
    is_hearing: bool = True
    heard_s: float = 0.0
    kill_at_s: float | None = None
    kills: int = 0

    def wake(self) -> None:
        """Make the loop look again; called by other threads and by signal handlers."""
        # A full pipe wakes as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self.wake_write, b".")

    def leave(self, _number: int, _frame: FrameType | None) -> None:
        """End the program when we are told to end."""
        self.is_hearing = False
        self.wake()

    def run(self) -> None:
        """Until the program is over, or nobody is there who wanted one."""
        self.heard_s = self.patience.monotonic_s()
        while True:
            self._look(self._wait_s())
            now_s = self.patience.monotonic_s()
            if now_s - self.heard_s > self.patience.lease_s:
                self.is_hearing = False
            if self.program is None:
                if not self.is_hearing:
                    return
                continue
            if self.program.is_over:
                self._tell_exit(self.program.exit_code())
                return
            if not self.is_hearing and not self._end(self.program, now_s):
                return

    def _wait_s(self) -> float:
        now_s = self.patience.monotonic_s()
        if self.kill_at_s is not None:
            return max(0.0, self.kill_at_s - now_s)
        if not self.is_hearing:
            return 0.0
        return max(0.0, self.heard_s + self.patience.lease_s - now_s) + 0.01

    def _look(self, wait_s: float) -> None:
        files = [self.wake_read, *([self.door.stdin] if self.is_hearing else [])]
        ready, _, _ = select.select(files, [], [], wait_s)
        if self.wake_read in ready:
            os.read(self.wake_read, DATA_BYTES_MAX)
        if self.door.stdin in ready and self.is_hearing:
            self._hear()

    def _hear(self) -> None:
        data = os.read(self.door.stdin, DATA_BYTES_MAX)
        self.heard_s = self.patience.monotonic_s()
        if not data:
            self.is_hearing = False
            return
        try:
            for kind, body in self.reader.feed(data):
                self._obey(kind, body)
        except DataError:
            self.is_hearing = False

    def _obey(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.REQUEST and self.program is None:
            self._start(body)
        elif self.program is None:
            return
        elif kind is Kind.STDIN:
            if not self.program.take(body):
                self.is_hearing = False
        elif kind is Kind.STDIN_END:
            self.program.take(None)
        elif kind is Kind.SIGNAL and number_of(body) in _SIGNALS:
            self.program.signal(number_of(body))

    def _start(self, body: bytes) -> None:
        call = read_request(body)
        if isinstance(call, Refusal):
            self._refuse(call.message, _USAGE)
            return
        if call.argv[:1] == (_OURS,):
            self._refuse(f"llorch-pool {_OURS} runs every command but itself", _USAGE)
            return
        try:
            self.program = Leashed(
                [str(self.door.program), *call.argv],
                env={**self.door.env, **call.env},
                cwd=call.cwd,
                writer=self.writer,
                on_change=self.wake,
            )
        except (OSError, ValueError) as error:
            self._refuse(f"llorch-pool cannot be started: {error}", _FAILURE)

    def _refuse(self, line: str, code: int) -> None:
        self.writer.write(frame(Kind.STDERR, f"error: {line}\n".encode("utf-8", "replace")))
        self._tell_exit(code)
        self.is_hearing = False

    def _tell_exit(self, code: int) -> None:
        self.writer.write(frame(Kind.EXIT, b"%d" % code))

    def _end(self, program: Leashed, now_s: float) -> bool:
        """Ask it to end, then make it; False when even that has not helped."""
        if self.kill_at_s is not None and now_s < self.kill_at_s:
            return True
        if self.kills > 1:
            return False
        program.signal(signal.SIGKILL if self.kills else signal.SIGTERM)
        self.kills += 1
        self.kill_at_s = now_s + self.patience.grace_s
        return True


def serve(door: Door, patience: Patience | None = None) -> None:
    """Serve one call to its end."""
    writer = FrameWriter(door.stdout)
    # In one piece, so that the caller knows the version before it asks for anything.
    writer.write(MAGIC + frame(Kind.HELLO, door.version.encode("ascii", "replace")))
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    service = _Service(door, patience or Patience(), writer, wake_read, wake_write)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, service.leave)
    service.run()
