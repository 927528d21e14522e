"""One program to its end: bounded, and never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator_core.errors import Code, LlorchError
from pool_ctl.git.processes import Bounds, run_to_end
from support.waiting import until_sync

ENV = dict(os.environ)


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_tells_code_answer_and_talk_and_relays_the_talk() -> None:
    relayed: list[bytes] = []
    text = "import sys; sys.stdout.write('a' * 200000); sys.stderr.write('b' * 200000); sys.exit(3)"
    ran = run_to_end(python(text), ENV, Bounds(), relayed.append)
    assert (ran.code, len(ran.out), len(ran.talk)) == (3, 200_000, 65_536)
    assert len(b"".join(relayed)) == 200_000


def test_an_endless_answer_ends_the_program() -> None:
    text = "import sys\nwhile True: sys.stdout.write('a' * 65536)"
    with pytest.raises(LlorchError, match="more than 1000000 bytes"):
        run_to_end(python(text), ENV, Bounds(out_bytes_max=1_000_000))


def test_a_program_that_does_not_answer_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f"sleep 600 & echo $! > {note}.new; mv {note}.new {note}; wait"
    # The clock jumps past the limit once the child is there.
    bounds = Bounds(timeout_s=60, monotonic_s=lambda: 1000.0 if note.exists() else 0.0)
    with pytest.raises(LlorchError) as refused:
        run_to_end(["sh", "-c", script], ENV, bounds)
    assert refused.value.code is Code.TIMEOUT
    child = int(note.read_text())
    until_sync(lambda: not is_alive(child), what="the end of the child")


def test_something_left_running_does_not_hold_us_up(tmp_path: Path) -> None:
    note = tmp_path / "child"
    ran = run_to_end(["sh", "-c", f"sleep 600 & echo $! > {note}"], ENV, Bounds())
    assert ran.code == 0
    psutil.Process(int(note.read_text())).kill()


def test_a_program_that_says_nothing_is_ended_and_one_that_talks_is_not() -> None:
    heard: list[bytes] = []
    # Each look at the clock is a minute later, and the program has spoken before the third.
    clock = iter(range(0, 60_000, 60))
    bounds = Bounds(timeout_s=None, silence_s=300, monotonic_s=lambda: float(next(clock)))
    with pytest.raises(LlorchError, match="have said nothing for 300 s") as refused:
        run_to_end(["sh", "-c", "echo x >&2; exec sleep 600"], ENV, bounds, heard.append)
    assert refused.value.code is Code.TIMEOUT
    assert heard == [b"x\n"]


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_in_the_moment_of_the_start_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, ending: type[BaseException]
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(ending):
        run_to_end(["sleep", "600"], ENV, Bounds())
    assert started[0].poll() is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(LlorchError, match="cannot be started: No such file"):
        run_to_end(["/nothing/here"], ENV, Bounds())


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
