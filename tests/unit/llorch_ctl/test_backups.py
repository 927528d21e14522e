"""Backup, restore and reset-admin run the daemon's own program and show what it says."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.main import cli
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import runfiles, select

PROGRAM = """
import json, os, sys
print("orchestratord: take care", file=sys.stderr)
print("orchestratord: warning: keys work again", file=sys.stderr)
if os.environ.get("FAILS"):
    print("orchestratord: it exists already (CONFLICT)", file=sys.stderr)
    sys.exit(1)
print(json.dumps({"args": sys.argv[1:], "size_bytes": 2048, "key": os.environ.get("LLORCH_API_KEY")}))
"""


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "orchestratord"
    script.write_text(f"#!{sys.executable}{PROGRAM}")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.chdir(tmp_path)
    return {"LLORCH_HOME": str(tmp_path / "home"), "LLORCH_API_KEY": "secret"}


def run(env: dict[str, str], *args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, args, env=env, input=stdin)


def started(env: dict[str, str]) -> None:
    """Pretend that this process is the daemon of the installation."""
    me = select.current().identify(os.getpid())
    assert me is not None
    words = {"daemon": "orchestratord", "url": "http://127.0.0.1:1", "version": "1"}
    process = {"pid": me.pid, "start_time": me.start_time, "boot_id": me.boot_id}
    file = RunFile.model_validate({**words, **process, "instance": "i"})
    runfiles.write(Layout.from_env(env).run_folder, file)


def data(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_backup_names_its_file_by_the_time_unless_told(env: dict[str, str], tmp_path: Path) -> None:
    for args in ((), (".",)):
        done = data(run(env, "orchestrator", "backup", *args, "--format", "json"))
        act, path = done["args"]
        assert act == "backup"
        assert Path(path).parent == tmp_path
        assert Path(path).match("orchestrator-[0-9]*T[0-9]*Z.db")
    done = data(run(env, "orchestrator", "backup", "x.db", "--force", "--format", "json"))
    assert done["args"] == ["backup", str(tmp_path / "x.db"), "--force"]
    assert done["key"] is None


def test_backup_runs_beside_the_daemon(env: dict[str, str]) -> None:
    started(env)
    result = run(env, "orchestrator", "backup", "x.db")
    assert result.exit_code == 0
    assert "2 KiB" in result.stdout
    assert result.stderr == "take care\nwarning: keys work again\n"


def test_what_the_program_refuses_is_one_line(env: dict[str, str]) -> None:
    result = run(env | {"FAILS": "1"}, "orchestrator", "backup", "x.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: it exists already (CONFLICT)\n"


def test_restore_asks_and_takes_no_for_an_answer(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.db").touch()
    nobody = run(env, "orchestrator", "restore", "x.db")
    assert nobody.exit_code == 2
    assert "--yes" in nobody.stderr
    monkeypatch.setattr("llorch_ctl.commands.backups.may_ask", lambda: True)
    refused = run(env, "orchestrator", "restore", "x.db", stdin="n\n")
    assert (refused.exit_code, refused.stdout) == (0, "")
    assert "Nothing was changed." in refused.stderr
    agreed = run(
        env,
        "orchestrator",
        "restore",
        "x.db",
        stdin="y\n",
    )
    assert f"restore, {tmp_path}/x.db" in agreed.stdout
    done = data(run(env, "orchestrator", "restore", "x.db", "--yes", "--format", "json"))
    assert done["args"] == ["restore", str(tmp_path / "x.db")]


@pytest.mark.parametrize(
    "args", [("orchestrator", "restore", "x.db", "--yes"), ("keys", "reset-admin")]
)
def test_a_running_daemon_is_named_before_anything_is_done(
    env: dict[str, str], tmp_path: Path, args: tuple[str, ...]
) -> None:
    (tmp_path / "x.db").touch()
    started(env)
    result = run(env, *args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"orchestratord (pid {os.getpid()}) is running" in result.stderr
    assert "stop it with: llorch orchestrator stop (DATA_IN_USE)" in result.stderr


def test_reset_admin_needs_no_key(env: dict[str, str]) -> None:
    done = data(run(env, "keys", "reset-admin", "--format", "json", "--quiet"))
    assert done["args"] == ["reset-admin"]
