"""A child that is asked with a deadline: answers, silence, nonsense, and ends that are not clean."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pool_core.devices.helper_process import HelperProcess, NoAnswer, backoff_s
from support.waiting import until_sync

ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.raw.write(line)"
SILENT_AFTER_ONE = """
    import signal, sys
    for line in sys.stdin.buffer:
        sys.stdout.buffer.raw.write(line)
        signal.pause()
"""
ENDLESS = "import sys\nwhile sys.stdin: sys.stdout.buffer.raw.write(b'x' * 65536)"


@contextlib.contextmanager
def helper(
    code: str, *, timeout_s: float = 20.0, first_timeout_s: float = 20.0
) -> Iterator[HelperProcess]:
    argv = (sys.executable, "-I", "-c", textwrap.dedent(code))
    process = HelperProcess(
        argv, timeout_s=timeout_s, first_timeout_s=first_timeout_s, answer_bytes_max=100_000
    )
    try:
        yield process
    finally:
        process.close()


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def pid_of(process: HelperProcess) -> int:
    assert process.pid is not None
    return process.pid


@pytest.mark.parametrize(
    ("failures", "expected_s"), [(0, 5), (1, 5), (2, 10), (3, 20), (7, 300), (10_000, 300)]
)
def test_the_pause_doubles_up_to_a_bound(failures: int, expected_s: float) -> None:
    assert backoff_s(failures) == expected_s
    assert backoff_s(failures, longest_s=8) == min(expected_s, 8)


def test_one_child_answers_every_question() -> None:
    with helper(ECHO) as asked:
        assert asked.pid is None
        assert asked.ask("one") == b"one\n"
        pid = asked.pid
        assert asked.ask("two") == b"two\n"
        assert asked.pid == pid


def test_an_answer_may_be_larger_than_a_pipe() -> None:
    code = "import sys\nfor _ in sys.stdin: print('x' * 90000, flush=True)"
    with helper(code) as asked:
        assert asked.ask("much") == b"x" * 90_000 + b"\n"


def test_a_child_that_falls_silent_is_killed_and_replaced() -> None:
    with helper(SILENT_AFTER_ONE, timeout_s=1.0) as asked:
        until_sync(lambda: asked.ask("one") == b"one\n", what="the first answer")
        pid = pid_of(asked)
        assert asked.ask("two") == NoAnswer("no answer in 1 s")
        assert asked.pid is None
        until_sync(lambda: is_gone(pid), what="the end of the silent child")
        until_sync(lambda: asked.ask("three") == b"three\n", what="an answer of another child")
        assert asked.pid != pid


def test_the_first_answer_of_a_child_may_take_longer_than_the_caller_waits(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"import sys\nopen({str(gate)!r}).read()\n{ECHO}"
    with helper(code, timeout_s=0.01) as asked:
        first = asked.ask("one")
        assert first == NoAnswer("no answer in 0.01 s", is_pending=True)
        pid = asked.pid
        gate.write_text("go")
        until_sync(lambda: asked.ask("not asked") == b"one\n", what="the late answer")
        assert asked.pid == pid


def test_a_child_that_never_gives_a_first_answer_is_killed_as_well() -> None:
    with helper("import signal; signal.pause()", timeout_s=0.01, first_timeout_s=0.01) as asked:
        assert asked.ask("one") == NoAnswer("no answer in 0.01 s")
        assert asked.pid is None


def test_a_child_that_ends_has_not_answered() -> None:
    with helper("input()") as asked:
        assert asked.ask("one") == NoAnswer("the helper ended without an answer")


def test_a_child_that_was_killed_between_two_questions_is_replaced() -> None:
    with helper(ECHO) as asked:
        asked.ask("one")
        pid = pid_of(asked)
        os.kill(pid, signal.SIGKILL)
        until_sync(lambda: is_gone(pid), what="the child's end")
        assert isinstance(asked.ask("two"), NoAnswer)
        assert asked.ask("three") == b"three\n"


def test_an_endless_answer_is_cut_off() -> None:
    with helper(ENDLESS) as asked:
        assert asked.ask("one") == NoAnswer("the helper's answer is larger than any real one")
        assert asked.pid is None


def test_a_program_that_cannot_be_started_is_an_answer_too() -> None:
    missing = HelperProcess(["/no/such/program"], timeout_s=1, first_timeout_s=1)
    assert missing.ask("one") == NoAnswer("the helper cannot be asked: No such file or directory")
    missing.close()


def test_can_be_closed_twice_and_leaves_no_zombie() -> None:
    with helper(ECHO) as asked:
        asked.ask("one")
        pid = pid_of(asked)
        asked.close()
        assert not psutil.pid_exists(pid)
        asked.close()


def test_a_child_that_cannot_be_killed_is_left_behind_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with helper(ECHO) as asked:
        asked.ask("one")
        pid = pid_of(asked)
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(subprocess.Popen, "kill", lambda self: None)
        asked.close()
    # A forgotten Popen would warn, and a warning fails the test.
    gc.collect()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_killed_child_is_reaped_without_another_question() -> None:
    with helper(ECHO) as asked:
        asked.ask("one")
        pid = pid_of(asked)
        asked.stop()

        def is_reaped() -> bool:
            asked.reap()
            return not psutil.pid_exists(pid)

        until_sync(is_reaped, what="no zombie")
