import os
import sys
from pathlib import Path

from pool_core.devices.commands import Ran, run_command
from support.waiting import until_sync


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_gives_back_what_a_program_wrote_and_how_it_ended() -> None:
    ran = run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    assert ran == Ran(3, "out\n", "err\n")


def test_a_killed_program_has_a_negative_code() -> None:
    ran = run_command(["sh", "-c", "kill -SEGV $$"], 10)
    assert ran is not None
    assert ran.code == -11


def test_a_program_that_does_not_exist_gives_nothing(tmp_path: Path) -> None:
    assert run_command([str(tmp_path / "nothing")], 1) is None
    assert run_command(["a\0b"], 1) is None


def test_a_program_that_hangs_is_ended_together_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > {pids}; wait"
    assert run_command(["sh", "-c", script], 0.5) is None
    both = [int(pid) for pid in pids.read_text("utf-8").split()]
    assert len(both) == 2
    until_sync(lambda: not any(map(is_running, both)), what="the end of the program and its child")


def test_a_child_that_keeps_the_output_open_holds_nobody_up(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    ran = run_command(["sh", "-c", f"sleep 600 & echo $! > {pids}; echo done"], 10)
    assert ran == Ran(0, "done\n")
    os.kill(int(pids.read_text("utf-8")), 9)


def test_input_is_empty_and_output_is_bounded() -> None:
    script = "import sys; sys.stdout.write('x' * (5 << 20)); assert not sys.stdin.read()"
    ran = run_command([sys.executable, "-c", script], 30)
    assert ran is not None
    assert (ran.code, len(ran.output)) == (0, 4 << 20)


def test_a_program_starts_in_a_session_of_its_own() -> None:
    ran = run_command([sys.executable, "-c", "import os; print(os.getsid(0), os.getpid())"], 30)
    assert ran is not None
    session, pid = ran.output.split()
    assert session == pid
