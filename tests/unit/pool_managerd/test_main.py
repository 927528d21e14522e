"""The program's command line: what it refuses, in one line and with which exit code."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator_core.daemon import program
from orchestrator_core.platforms.files import FileLock
from pool_managerd import main

Runner = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run the program on an empty home; only for command lines that it refuses."""

    def refused(*argv: str, **env: str) -> tuple[int, str]:
        code = main.run(argv, {"LLORCH_HOME": str(tmp_path), "PATH": os.defpath, **env})
        complaint = capsys.readouterr().err
        assert complaint.startswith("pool-managerd: ")
        assert complaint.count("\n") == 1
        return code, complaint

    return refused


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_taken_port_names_its_holder(run: Runner, taken: str) -> None:
    code, complaint = run("--bind", taken)
    assert code == 78
    assert taken in complaint
    assert str(os.getpid()) in complaint


def test_a_taken_folder_names_its_holder(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "program_of", lambda _pid: "pool-managerd")
    folder = tmp_path / "state" / "pool"
    folder.mkdir(parents=True)
    lock = FileLock(folder / "pool.lock")
    assert lock.try_acquire()
    try:
        code, complaint = run()
    finally:
        lock.release()
    assert code == 78
    assert f"process {os.getpid()} already uses" in complaint


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--bind", "nonsense"], "HOST:PORT"),
        (["--bind", "0.0.0.0:0", "--no-tls"], "insecure_lan"),
        (["--pool-id", "a/b"], "pool_id"),
        (["--orchestrator-url", "localhost"], "http://HOST:PORT"),
        (["--config", "/nowhere/pool.toml"], "no such file"),
    ],
)
def test_a_wrong_flag_is_explained(run: Runner, argv: list[str], word: str) -> None:
    code, complaint = run(*argv)
    assert code == 78
    assert word in complaint


def test_an_unknown_key_of_the_file_is_refused_by_name(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "pool.toml").write_text('bnd = "127.0.0.1:9200"\n')
    code, complaint = run()
    assert code == 78
    assert 'unknown key "bnd" (did you mean "bind"?)' in complaint


def test_a_wrong_variable_is_named(run: Runner) -> None:
    code, complaint = run(LLORCH_POOL_STOP_GRACE_S="soon")
    assert code == 78
    assert "LLORCH_POOL_STOP_GRACE_S" in complaint


def test_a_folder_that_cannot_be_made_is_named(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    code, complaint = run()
    assert code == 78
    assert str(tmp_path / "state") in complaint


def test_an_unknown_flag_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main.run(["--port", "1"], {"LLORCH_HOME": str(tmp_path)})
    assert ended.value.code == 2
