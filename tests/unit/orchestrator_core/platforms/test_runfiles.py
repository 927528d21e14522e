"""Run files tell of a daemon that is alive, or of none."""

import os
import subprocess
from pathlib import Path

from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import runfiles
from orchestrator_core.platforms.linux import LinuxPlatform

PLATFORM = LinuxPlatform()


def run_of(pid: int, daemon: str = "orchestratord") -> RunFile:
    identity = PLATFORM.identify(pid)
    assert identity is not None
    return RunFile(
        daemon=daemon,
        url="http://127.0.0.1:1",
        pid=pid,
        start_time=identity.start_time,
        boot_id=identity.boot_id,
        version="0.1.0",
        instance="i1",
    )


def test_live_run_file_is_read_back_and_private(tmp_path: Path) -> None:
    run = run_of(os.getpid())
    runfiles.write(tmp_path / "run", run)
    path = tmp_path / "run" / "orchestratord.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert runfiles.read_live(tmp_path / "run", "orchestratord", PLATFORM) == run


def test_run_file_of_an_ended_process_is_no_answer(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        runfiles.write(tmp_path, run_of(process.pid))
        process.kill()
    assert runfiles.read_live(tmp_path, "orchestratord", PLATFORM) is None


def test_run_file_with_a_recycled_pid_is_no_answer(tmp_path: Path) -> None:
    run = run_of(os.getpid())
    runfiles.write(tmp_path, run.model_copy(update={"start_time": run.start_time - 5}))
    assert runfiles.read_live(tmp_path, "orchestratord", PLATFORM) is None


def test_missing_broken_and_foreign_run_files_are_no_answer(tmp_path: Path) -> None:
    assert runfiles.read_live(tmp_path, "orchestratord", PLATFORM) is None
    (tmp_path / "orchestratord.json").write_text("{")
    assert runfiles.read_live(tmp_path, "orchestratord", PLATFORM) is None
    body = run_of(os.getpid(), daemon="pool-managerd").model_dump_json()
    (tmp_path / "orchestratord.json").write_text(body)
    assert runfiles.read_live(tmp_path, "orchestratord", PLATFORM) is None


def test_only_the_writer_removes_its_run_file(tmp_path: Path) -> None:
    runfiles.write(tmp_path, run_of(os.getpid()))
    runfiles.remove(tmp_path, "orchestratord", os.getpid() + 1)
    assert runfiles.read(tmp_path, "orchestratord") is not None
    runfiles.remove(tmp_path, "orchestratord", os.getpid())
    assert runfiles.read(tmp_path, "orchestratord") is None
    runfiles.remove(tmp_path, "orchestratord", os.getpid())
