"""llorch dev, support-bundle and completion against real daemons, a real host and real shells.

One installation and one host serve all tests that only look at them.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from support.home import Finished, Home
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd

pytestmark = pytest.mark.e2e

PROMPT = "Tell me of the seventeenth lighthouse"
# What each shell does at the press of the key, for the words before it and the one that is begun.
PRESSES = {
    "bash": """
        eval "$(llorch completion bash)"
        COMP_WORDS=({words} "{begun}"); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMPREPLY=()
        COMP_WORDS+=({behind}); COMP_LINE="{words} {begun} {behind}"
        _llorch{suffix}_completion {program}; printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ }}; eval "$(llorch completion zsh)"
        compadd() {{ print -l -- $completions }}
        _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
        words=({words} "{begun}"); CURRENT=$#words; words+=({behind})
        _llorch{suffix}_completion
    """,
    "fish": """
        llorch completion fish | source
        complete -C "{words} {begun}" | string replace -r '\\t.*' ''
    """,
}
SHELLS = [name for name in PRESSES if shutil.which(name)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An installation that runs, and that no test changes."""
    home = Home(tmp_path_factory.mktemp("running"))
    try:
        yield home.start()
    finally:
        home.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondMachine]:
    """A host that SSH reaches."""
    with second_machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


def findings(told: Finished) -> dict[str, dict[str, Any]]:
    data = told.json()
    rows = data if isinstance(data, list) else cast("dict[str, Any]", data)["findings"]
    return {row["subject"]: row for row in cast("list[dict[str, Any]]", rows)}


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {it.name.partition("/")[2]: archive.extractfile(it) for it in archive}
        return {name: stream.read().decode() for name, stream in files.items() if stream}


def press(home: Home, shell: str, words: str, begun: str = "", behind: str = "") -> list[str]:
    program = words.split(maxsplit=1)[0]
    script = PRESSES[shell].format(
        words=words, begun=begun, behind=behind, program=program,
        suffix=program.removeprefix("llorch").replace("-", "_"),
    )  # fmt: skip
    env = home.env | {"PATH": f"{Path(sys.executable).parent}:{home.env['PATH']}"}
    # A fish writes into the folders of whoever it takes us for.
    env["HOME"] = str(home.folder)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        env.pop(name, None)
    done = subprocess.run(
        [shell, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_running_machine_is_well_and_its_pool_is_named(running: Home) -> None:
    key = running.state / "admin.key"
    key.chmod(0o644)
    found = findings(running.llorch("dev", "doctor", "--format", "json").must(1))
    key.chmod(0o600)
    assert found["orchestrator"]["text"] == f"it answers at {running.url}"
    assert {found[it]["severity"] for it in ("orchestratord", "pool-managerd")} == {"ok"}
    pools = [row for subject, row in found.items() if subject.startswith("pool ")]
    assert [row["severity"] for row in pools] == ["ok"]
    # Both read the clock of one machine.
    assert "clock" not in found
    # The one thing that is wrong with it comes with what to type.
    errors = [row for row in found.values() if row["severity"] == "error"]
    assert [row["fix"] for row in errors] == [f"chmod 600 {key}"]


def test_a_wrong_key_is_named(running: Home) -> None:
    stranger = Home(running.folder, {"LLORCH_API_KEY": "llo_user_wrong"})
    found = findings(stranger.llorch("dev", "doctor", "--format", "json").must(1))
    assert "LLORCH_API_KEY" in found["orchestrator"]["fix"]


def test_a_strange_holder_of_the_port_is_named(empty_home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        bind = f"127.0.0.1:{server.getsockname()[1]}"
        home = Home(empty_home.folder, {"LLORCH_ORCHESTRATOR_BIND": bind})
        found = findings(home.llorch("dev", "doctor", "--format", "json").must(1))
    assert f"in use by process {os.getpid()}" in found["port"]["text"]
    assert "--bind" in found["port"]["fix"]


def test_a_setup_makes_a_machine_ready_twice(empty_home: Home) -> None:
    dry = empty_home.llorch("dev", "setup", "--dry-run", "--format", "json")
    assert list(empty_home.folder.iterdir()) == []
    told = cast(
        "dict[str, Any]", empty_home.llorch("dev", "setup", "--format", "json").must().json()
    )
    steps = {step["subject"]: step["state"] for step in told["steps"]}
    assert (steps["folders"], steps["hosts"], steps["settings"]) == ("done",) * 3
    planned = {step["subject"] for step in cast("dict[str, Any]", dry.json())["steps"]}
    assert planned == steps.keys()
    again = empty_home.llorch("dev", "setup").must()
    assert again.out.count("already so") >= 3
    # What it wrote are settings that the daemons' own programs take, and none of them is changed.
    shown = empty_home.llorch("config", "show", "--changed", "--format", "json").must()
    rows = cast("list[dict[str, Any]]", shown.json())
    changed = {row["program"]: row["key"] for row in rows if row["program"] != "llorch"}
    assert changed == {"orchestratord": "bind", "pool-managerd": "bind"}


def test_a_wrong_setting_is_found_before_any_start(empty_home: Home) -> None:
    config = empty_home.folder / "config"
    config.mkdir()
    (config / "pool.toml").write_text("bnd = 1\n")
    (config / "llorch.toml").write_text('[hosts.mac]\nshh = "me@mac"\n')
    told = empty_home.llorch("dev", "check").must(1)
    assert 'did you mean "bind"' in told.out
    assert 'did you mean "ssh"' in told.out
    shown = empty_home.llorch("config", "show").must(1)
    assert 'pool.toml: unknown key "bnd"' in shown.err


@needs_sshd
def test_a_host_is_reached_and_tells_what_its_own_doctor_finds(machine: SecondMachine) -> None:
    in_the_way = machine.there.folder / "data"
    in_the_way.write_text("no folder")
    argv = ("dev", "doctor", "--hosts", "--format", "json")
    rows = cast("list[dict[str, Any]]", machine.ours.llorch(*argv).must(1).json())
    in_the_way.unlink()
    told = [row for row in rows if row["subject"] == "host mac"]
    assert any("llorch-pool 0." in row["text"] and row["severity"] == "ok" for row in told)
    (error,) = [row for row in told if row["severity"] == "error"]
    assert f"{in_the_way} is in the way" in error["text"]
    assert error["fix"] == f"on mac: mv {in_the_way} {in_the_way}.old"


@needs_sshd
def test_a_host_that_is_not_ready_says_what_to_type(tmp_path: Path) -> None:
    with second_machine(tmp_path) as machine:
        machine.write_host(command="/nowhere/llorch-pool")
        bare = findings(machine.ours.llorch("dev", "check", "--format", "json").must())
        assert (bare["host mac"]["severity"], bare["host mac"]["fix"]) == (
            "note",
            "llorch host add mac",
        )
        machine.know_nobody()
        told = machine.ours.llorch("dev", "check", "--host", "mac").must(1)
        assert "llorch host trust mac" in told.out
        refused = machine.ours.llorch("dev", "check", "--host=-oProxyCommand=x").must(1)
        assert refused.err.count("\n") == 1


@needs_sshd
def test_a_host_adds_its_own_part_to_a_bundle(machine: SecondMachine, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    argv = ("support-bundle", "--host", "mac", "--anonymous", "--out", str(path))
    told = machine.ours.llorch(*argv, "--format", "json", timeout_s=120).must()
    files = unpacked(path)
    host = {name for name in files if name.startswith("hosts/")}
    assert {name.rpartition("/")[2] for name in host} >= {"doctor.json", "version.txt"}
    everything = "\n".join([*files, *files.values()])
    assert "127.0.0.1" not in everything or "mac" not in everything.split()
    # No daemon ran: what it would have told is missing, and named.
    rows = cast("dict[str, Any]", told.json())["files"]
    left_out = {row["name"]: row["left_out"] for row in rows if "left_out" in row}
    assert left_out.keys() == {"orchestrator/pools.json", "orchestrator/jobs.json"}
    assert set(files) == {row["name"] for row in rows} - left_out.keys()


def test_a_bundle_of_a_working_machine_tells_no_secret(running: Home, tmp_path: Path) -> None:
    ask = ("jobs", "submit", "--model", "tiny-chat", "--prompt", PROMPT)
    answer = running.llorch(*ask).must().out
    laptop = running.llorch("keys", "create", "laptop", "--quiet").must().out.strip()
    path = tmp_path / "bundle.tar.gz"
    told = running.llorch("support-bundle", "--out", str(path), "--worker-logs").must()
    assert str(path) in told.out
    assert path.stat().st_mode & 0o777 == 0o600
    files = unpacked(path)
    assert json.loads(files["orchestrator/jobs.json"])["status"].keys() == {"completed"}
    assert json.loads(files["doctor.json"])
    assert json.loads(files["pool-doctor.json"])
    assert "llorch-ctl" in json.loads(files["versions.json"])["installed"]
    (pool,) = json.loads(files["orchestrator/pools.json"])
    assert pool["status"] == "online"
    assert any(name.startswith("log/workers/") for name in files)
    everything = "\n".join(files.values())
    for key_file in running.state.rglob("*.key"):
        assert key_file.read_text().strip() not in everything, key_file
    for secret in (laptop, PROMPT, answer.strip()):
        assert secret not in everything
    running.llorch("support-bundle", "--out", str(path)).must(1)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_without_any_daemon(empty_home: Home, shell: str) -> None:
    assert press(empty_home, shell, "llorch", "supp") == ["support-bundle"]
    assert sorted(press(empty_home, shell, "llorch dev")) == ["check", "doctor", "setup"]
    assert press(empty_home, shell, "llorch-pool worker", "sp") == ["spawn"]
    assert press(empty_home, shell, "llorch jobs status") == []


def test_every_shell_completes_the_names_of_what_runs(running: Home) -> None:
    ask = ("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello", "--detach")
    job = running.llorch(*ask).must().out.strip()
    running.llorch("jobs", "watch", job).must()
    (worker,) = cast(
        "list[dict[str, Any]]", running.pool("worker", "list", "--format", "json").json()
    )
    (pool,) = cast(
        "list[dict[str, Any]]", running.llorch("pool", "list", "--format", "json").json()
    )
    for shell in SHELLS:
        assert job in press(running, shell, "llorch jobs status", "job_")
        assert "tiny-chat" in press(running, shell, "llorch jobs submit --model")
        assert press(running, shell, "llorch-pool worker logs") == [worker["name"]]
        assert press(running, shell, "llorch pool drain") == [pool["pool_id"]]
        stop = f"llorch pool worker --host {pool['pool_id']} stop"
        assert press(running, shell, stop) == [worker["name"]]


@pytest.mark.parametrize("shell", [name for name in SHELLS if name != "fish"])
def test_a_host_behind_the_cursor_says_whose_workers_are_meant(running: Home, shell: str) -> None:
    asked = ("llorch pool worker stop", "", "--host")
    (pool,) = cast(
        "list[dict[str, Any]]", running.llorch("pool", "list", "--format", "json").json()
    )
    assert press(running, shell, *asked[:2], f"--host {pool['pool_id']}") != []
    assert press(running, shell, *asked[:2], "--host elsewhere") == []
