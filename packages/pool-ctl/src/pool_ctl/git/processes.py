"""Runs one program to its end with bounded memory, and never leaves it behind.

The program has a session of its own: it cannot ask at the terminal, and Ctrl-C ends it through us,
with all that it has started, in the way in which git takes its lock files away.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, NoReturn

from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Code, HostError, Refusal, error_for

__all__ = ["Bounds", "Ran", "run_to_end"]

_CHUNK_BYTES: Final = 65_536
_TALK_BYTES: Final = 65_536
_LOOK_S: Final = 0.5
_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, its whole answer, and the end of what it said beside it."""

    code: int
    out: bytes
    talk: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a program may take, how long it may say nothing, and how much it may answer."""

    timeout_s: float | None = 120.0
    silence_s: float | None = None
    out_bytes_max: int = 128 * 1024 * 1024
    monotonic_s: Callable[[], float] = SystemClock().monotonic_s


def run_to_end(
    argv: Sequence[str],
    env: Mapping[str, str],
    bounds: Bounds,
    relay: Callable[[bytes], None] | None = None,
) -> Ran:
    """Run a program; what it says on stderr goes to the relay while it runs."""
    with _ending_in_order() as ending:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            text = f"{argv[0]} cannot be started: {error.strerror}; install it, or mend PATH"
            raise HostError(Refusal(Code.GIT_FAILED, text)) from error
        with process:
            try:
                ending.begin()
                heard = _Heard(bounds.out_bytes_max, relay)
                _listen(process, heard, bounds)
                code = process.wait()
            except BaseException:
                _end(process)
                raise
    return Ran(code, bytes(heard.out), heard.talk.decode("utf-8", "replace"))


@dataclass(slots=True)
class _Heard:
    """What a program has said so far."""

    out_bytes_max: int
    relay: Callable[[bytes], None] | None
    out: bytearray = field(default_factory=bytearray)
    talk: bytearray = field(default_factory=bytearray)

    def take_out(self, data: bytes) -> None:
        self.out += data
        if len(self.out) > self.out_bytes_max:
            text = f"git answers with more than {self.out_bytes_max} bytes"
            raise error_for(Refusal(Code.GIT_FAILED, text))

    def take_talk(self, data: bytes) -> None:
        # Progress repeats itself without end; what matters is said last.
        self.talk += data
        del self.talk[:-_TALK_BYTES]
        if self.relay is not None:
            self.relay(data)


def _listen(process: subprocess.Popen[bytes], heard: _Heard, bounds: Bounds) -> None:
    started_s = heard_s = bounds.monotonic_s()
    with selectors.DefaultSelector() as selector:
        for pipe, take in ((process.stdout, heard.take_out), (process.stderr, heard.take_talk)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, take)
        while selector.get_map():
            ready = selector.select(_LOOK_S)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK_BYTES)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
            # Something that it left running, like a kept ssh connection, may hold the pipes open.
            if not ready and process.poll() is not None:
                return
            now_s = bounds.monotonic_s()
            heard_s = now_s if ready else heard_s
            if bounds.timeout_s is not None and now_s - started_s > bounds.timeout_s:
                text = f"git gives no answer within {bounds.timeout_s:g} s"
                raise error_for(Refusal(Code.TIMEOUT, text))
            if bounds.silence_s is not None and now_s - heard_s > bounds.silence_s:
                text = f"git and its remote have said nothing for {bounds.silence_s:g} s: try again"
                raise error_for(Refusal(Code.TIMEOUT, text))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the program and what it has started: politely first, so that it takes its locks away."""
    try:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    finally:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Ending:
    """Holds back the signals that end us until the program that they must end is known."""

    def __init__(self) -> None:
        self._has_begun = False
        self._held: int | None = None

    def begin(self) -> None:
        """From now on a signal ends us at once; one that has come before does so now."""
        self._has_begun = True
        if self._held is not None:
            _leave(self._held)

    def take(self, number: int, _frame: FrameType | None) -> None:
        """The handler of the signals."""
        if self._has_begun:
            _leave(number)
        self._held = number


def _leave(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _ending_in_order() -> Generator[_Ending]:
    """Let the signals that would end us at once end the program first."""
    ending = _Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {it: signal.getsignal(it) for it in numbers if signal.getsignal(it) in usual}
    for number in before:
        signal.signal(number, ending.take)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
