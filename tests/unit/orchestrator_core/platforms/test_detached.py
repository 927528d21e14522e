"""A detached program has its own session, its own environment and an appended log."""

import os
import sys
from pathlib import Path

from orchestrator_core.platforms import detached

SHOW = (
    "import os,sys; print(os.getsid(0)==os.getpid(), sorted(os.environ), repr(sys.stdin.read()),"
    "len(os.listdir('/proc/self/fd')), os.getcwd(), flush=True); print('late', file=sys.stderr);"
    "sys.exit(7)"
)


def test_program_runs_apart_from_us(tmp_path: Path) -> None:
    log = tmp_path / "log" / "x.log"
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        for _ in range(2):
            process = detached.start(
                [sys.executable, "-I", "-c", SHOW],
                log_path=log,
                env={"LC_ALL": "C.UTF-8"},
                cwd=tmp_path,
            )
            assert process.wait() == 7
    finally:
        os.close(leaked)
    line = f"True ['LC_ALL'] '' 4 {tmp_path}"
    assert log.read_text().splitlines() == [line, "late"] * 2
    assert log.stat().st_mode & 0o777 == 0o600


def test_let_go_child_is_dropped_without_a_warning(tmp_path: Path) -> None:
    process = detached.start(["sleep", "600"], log_path=tmp_path / "x.log", env=dict(os.environ))
    pid = process.pid
    detached.let_go(process)
    del process
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def test_let_go_of_an_ended_child_keeps_its_exit_code(tmp_path: Path) -> None:
    process = detached.start(["false"], log_path=tmp_path / "x.log", env=dict(os.environ))
    process.wait()
    detached.let_go(process)
    assert process.returncode == 1
