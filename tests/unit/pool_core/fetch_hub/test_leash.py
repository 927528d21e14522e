"""A program on a leash: its exit code is ours, and it ends when nobody holds the other end."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pool_core.fetch.leash import leashed_argv
from support.waiting import until_sync


@pytest.mark.parametrize(
    ("code", "told"),
    [("0", 0), ("7", 7), ("__import__('os').kill(__import__('os').getpid(), 9)", 137)],
)
def test_the_end_of_the_program_is_told(code: str, told: int) -> None:
    argv = leashed_argv([sys.executable, "-c", f"raise SystemExit({code})"])
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert process.wait() == told


def test_a_program_that_cannot_be_started_is_one_line(
    tmp_path: Path,
) -> None:
    argv = leashed_argv([str(tmp_path / "nothing")])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 127
    assert done.stderr.endswith(b"nothing cannot be started: No such file or directory\n")


def test_the_program_ends_with_whoever_held_the_leash() -> None:
    waits = [sys.executable, "-c", "print('up', flush=True); __import__('signal').pause()"]
    process = subprocess.Popen(leashed_argv(waits), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        (child,) = psutil.Process(process.pid).children()
        process.stdin.close()
        until_sync(lambda: not child.is_running(), what="the end of the program")
        assert process.wait() == -9
