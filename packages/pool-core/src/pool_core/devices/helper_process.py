"""Asks a child process one line and waits for one line, but never longer than was agreed.

A call into a driver can hang so deep that not even SIGKILL ends it. Such a call is made by a
child, and a child that does not answer in time is killed and left to itself: nobody waits for it.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final

__all__ = ["HelperProcess", "NoAnswer", "backoff_s"]

_CHUNK_BYTES: Final = 65_536
_FAREWELL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no answer; a pending one may still come, so the same child is asked again."""

    reason: str
    is_pending: bool = False


def backoff_s(failures: int, *, longest_s: float = 300.0) -> float:
    """How long to leave a broken thing alone after so many failures in a row."""
    # A double of five seconds leaves every bound long before the exponent is large.
    return min(5.0 * 2.0 ** min(max(failures, 1) - 1, 30), longest_s)


class HelperProcess:
    """One child at a time, started when it is first asked. For one thread at a time."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        first_timeout_s: float,
        answer_bytes_max: int = 1 << 20,
    ) -> None:
        self._argv = tuple(argv)
        self._timeout_s = timeout_s
        self._first_timeout_s = max(first_timeout_s, timeout_s)
        self._answer_bytes_max = answer_bytes_max
        self._child: subprocess.Popen[bytes] | None = None
        self._left: list[subprocess.Popen[bytes]] = []
        self._has_answered = False
        self._asked_s: float | None = None
        self._received = bytearray()

    @property
    def pid(self) -> int | None:
        """The process that would be asked; None when the next question starts one."""
        return None if self._child is None else self._child.pid

    def ask(self, question: str) -> bytes | NoAnswer:
        """Ask, or look whether the answer to an earlier question has come by now.

        A new child may need first_timeout_s for its first answer, yet the caller waits for
        timeout_s at most, and not at all when it comes back for an answer that is pending.
        """
        self.reap()
        try:
            wait_s = self._put(question)
            return self._take(wait_s)
        except OSError as error:
            return self._give_up(f"the helper cannot be asked: {error.strerror or error}")

    def stop(self) -> None:
        """End the child, which holds nothing that could be lost; never waits."""
        child, self._child = self._child, None
        if child is None:
            return
        self._asked_s, self._has_answered = None, False
        self._received.clear()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        child.kill()
        self._left.append(child)
        self.reap()

    def reap(self) -> None:
        """Take note of killed children that are gone by now, so that no zombie stays."""
        self._left = [child for child in self._left if child.poll() is None]

    def close(self) -> None:
        """End the child and give every killed one a moment to be gone."""
        self.stop()
        deadline_s = time.monotonic() + _FAREWELL_S
        for child in self._left:
            try:
                child.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                # It sits inside the kernel. Whoever inherits it reaps it; this is the one way to
                # tell Popen that we never shall.
                child.returncode = -signal.SIGKILL
        self._left.clear()

    def _put(self, question: str) -> float:
        """Hand over the question unless one is pending; the seconds that the caller may wait."""
        if self._asked_s is not None:
            return 0.0
        child = self._child or self._start()
        _pipe(child.stdin).write(question.encode() + b"\n")
        self._asked_s = time.monotonic()
        return self._timeout_s

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own keeps a Ctrl-C at our terminal away from it.
        self._child = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        os.set_blocking(_pipe(self._child.stdout).fileno(), False)
        return self._child

    def _take(self, wait_s: float) -> bytes | NoAnswer:
        if self._child is None or self._asked_s is None:
            raise AssertionError("nobody was asked")
        pipe = _pipe(self._child.stdout)
        deadline_s = time.monotonic() + wait_s
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline_s - time.monotonic())):
                chunk = pipe.read(_CHUNK_BYTES)
                if chunk == b"":
                    return self._give_up("the helper ended without an answer")
                self._received += chunk or b""
                if self._received.endswith(b"\n"):
                    return self._accept()
                if len(self._received) > self._answer_bytes_max:
                    return self._give_up("the helper's answer is larger than any real one")
        return self._judge_silence(time.monotonic() - self._asked_s)

    def _accept(self) -> bytes:
        answer = bytes(self._received)
        self._received.clear()
        self._asked_s, self._has_answered = None, True
        return answer

    def _judge_silence(self, silent_s: float) -> NoAnswer:
        allowed_s = self._timeout_s if self._has_answered else self._first_timeout_s
        if silent_s < allowed_s:
            return NoAnswer(f"no answer in {self._timeout_s:g} s", is_pending=True)
        return self._give_up(f"no answer in {allowed_s:g} s")

    def _give_up(self, reason: str) -> NoAnswer:
        self.stop()
        return NoAnswer(reason)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the child was started without pipes")
    return pipe
