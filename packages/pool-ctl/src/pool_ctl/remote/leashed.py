"""A program in a session of its own: its output goes out as frames, its input comes in as such.

Each stream has a thread, so that one that stands still holds up neither the others nor a signal.
"""

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from orchestrator_core.stream.remote_frames import (
    DATA_BYTES_MAX,
    STDIN_BYTES_AHEAD,
    Kind,
    frame,
)

__all__ = ["FrameWriter", "Leashed"]

# How long we listen to what the program left behind, once it is gone and nothing comes.
_QUIET_S: Final = 0.5


class FrameWriter:
    """Writes whole frames to one file; after a failure there is nobody to write to."""

    def __init__(self, file: int) -> None:
        self._file: Final = file
        self._lock: Final = threading.Lock()
        self._is_broken = False

    def write(self, data: bytes) -> bool:
        """Write all of it; False when nobody reads any more."""
        with self._lock:
            rest = memoryview(data)
            while rest and not self._is_broken:
                try:
                    rest = rest[os.write(self._file, rest) :]
                except OSError:
                    self._is_broken = True
            return not self._is_broken


class Leashed:
    """One running program; on_change is called from other threads whenever one of them ends."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        writer: FrameWriter,
        on_change: Callable[[], None],
    ) -> None:
        self._writer: Final = writer
        self._on_change: Final = on_change
        self._is_gone: Final = threading.Event()
        self._pieces: Final = queue.SimpleQueue[bytes | None]()
        # Each is counted by one thread alone.
        self._given_bytes = 0
        self._taken_bytes = 0
        self._process: Final = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            bufsize=0,
            start_new_session=True,
        )
        streams = ((self._process.stdout, Kind.STDOUT), (self._process.stderr, Kind.STDERR))
        self._drained: Final = (threading.Event(), threading.Event())
        for (pipe, kind), drained in zip(streams, self._drained, strict=True):
            self._thread(self._pump, pipe, kind, drained)
        self._thread(self._feed)
        self._thread(self._await_exit)

    def _thread(self, run: Callable[..., None], *args: object) -> None:
        # A thread that waits for somebody who never reads must not keep us alive.
        threading.Thread(target=run, args=args, daemon=True).start()

    @property
    def is_over(self) -> bool:
        """True when the program has ended and all that it has said is sent."""
        return self._is_gone.is_set() and all(it.is_set() for it in self._drained)

    def exit_code(self) -> int:
        """As a shell tells it; a signal counts from 128 on."""
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def take(self, data: bytes | None) -> bool:
        """Give it input, or the end of it; False when more is under way than was agreed."""
        self._given_bytes += len(data or b"")
        self._pieces.put(data)
        return self._given_bytes - self._taken_bytes <= 2 * STDIN_BYTES_AHEAD

    def signal(self, number: int) -> None:
        """Signal the program and what it has started, but nothing that left its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _feed(self) -> None:
        stdin = self._process.stdin
        if stdin is None:
            return
        # A program that does not read any more misses nothing; what comes for it is thrown away.
        with contextlib.suppress(OSError):
            while (piece := self._pieces.get()) is not None:
                rest = memoryview(piece)
                while rest:
                    rest = rest[stdin.write(rest) :]
                self._taken(len(piece))
        with contextlib.suppress(OSError):
            stdin.close()
        while (piece := self._pieces.get()) is not None:
            self._taken(len(piece))

    def _taken(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        self._writer.write(frame(Kind.STDIN_TAKEN, b"%d" % size_bytes))

    def _pump(self, pipe: IO[bytes], kind: Kind, drained: threading.Event) -> None:
        with pipe:
            file = pipe.fileno()
            while True:
                # Something in another session may hold the pipe open for as long as it lives.
                if not select.select([file], [], [], _QUIET_S)[0]:
                    if self._is_gone.is_set():
                        break
                    continue
                data = os.read(file, DATA_BYTES_MAX)
                if not data or not self._writer.write(frame(kind, data)):
                    break
        drained.set()
        self._on_change()

    def _await_exit(self) -> None:
        if hasattr(os, "waitid"):
            # Its pid stays its own until somebody waits for it, so that we signal nobody else.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        # What is left in its session was not meant to outlive it: daemons have their own.
        self.signal(signal.SIGKILL)
        self._is_gone.set()
        self._on_change()
