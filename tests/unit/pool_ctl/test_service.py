"""llorch-pool daemon install-service on made-up hosts; no manager of this machine is touched."""

import json
import os
import plistlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator_core.console.daemons import Daemons
from orchestrator_core.daemon import services
from orchestrator_core.daemon.services import Account, HostFacts, Ran
from orchestrator_core.platforms.port import ProcessIdentity
from pool_ctl.commands import leftovers
from pool_ctl.main import cli


class World:
    """One made-up host: its facts, its service manager, and what that was asked to do."""

    def __init__(self, home: Path) -> None:
        me = Account("ann", 1000, 1000, home)
        self.facts = HostFacts(
            is_mac=False, me=me, owner=me, systemd_runs=True, user_manager_runs=True
        )
        self.home = home
        self.ran: list[str] = []
        self.answers: dict[str, Ran] = {}

    @property
    def unit(self) -> Path:
        return self.home / ".config/systemd/user/pool-managerd.service"

    def run(self, argv: Sequence[str], **_options: object) -> Ran:
        line = " ".join(argv)
        self.ran.append(line)
        return self.answers.get(line, Ran(0, ""))

    def invoke(self, *argv: str, **env: str) -> Result:
        gone = dict.fromkeys(
            ("LLORCH_API_KEY", "LLORCH_POOL_URL", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        )
        given = {"LLORCH_HOME": str(self.home / "llorch"), **env}
        return CliRunner().invoke(cli, ["daemon", "install-service", *argv], env={**gone, **given})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(services, "look", lambda _env: made.facts)
    monkeypatch.setattr(services, "run_command", made.run)
    monkeypatch.setattr(services, "ask_command", made.run)
    monkeypatch.setattr(services, "service_pid", lambda _service: None)
    monkeypatch.setattr(services, "find_account", lambda name: made.facts.me if name else None)
    return made


def test_shows_the_text_then_does_it_and_names_the_log(world: World) -> None:
    result = world.invoke()
    assert result.exit_code == 0, result.output
    assert result.stdout == world.unit.read_text()
    assert f"Environment=LLORCH_HOME={world.home}/llorch\n" in result.stdout
    assert world.ran == [
        "systemctl --user daemon-reload",
        "systemctl --user enable pool-managerd.service",
        "systemctl --user restart pool-managerd.service",
    ]
    assert "-> run: systemctl --user restart pool-managerd.service" in result.stderr
    assert "journalctl --user --unit pool-managerd" in result.stderr
    assert "loginctl enable-linger ann" in result.stderr


def test_user_who_lingers_needs_no_hint(world: World) -> None:
    world.facts = replace(world.facts, lingers=True)
    assert "enable-linger" not in world.invoke().stderr


def test_second_time_says_that_it_is_there(world: World) -> None:
    world.invoke()
    world.ran.clear()
    result = world.invoke()
    assert result.exit_code == 0
    assert "already there with this very text" in result.stderr
    assert world.ran == [
        "systemctl --user enable pool-managerd.service",
        "systemctl --user start pool-managerd.service",
    ]


def test_print_changes_nothing_and_prints_the_file_only(world: World) -> None:
    result = world.invoke("--print")
    assert result.exit_code == 0
    assert result.stdout.startswith("# Made by llorch-pool daemon install-service")
    assert not world.unit.exists()
    assert world.ran == []


def test_settings_of_the_caller_are_kept_and_secrets_are_not(world: World) -> None:
    result = world.invoke(
        "--print",
        LLORCH_POOL_BIND="127.0.0.1:9300",
        LLORCH_API_KEY="llk_secret",
        HF_TOKEN="hf_secret",
    )
    assert "Environment=LLORCH_POOL_BIND=127.0.0.1:9300\n" in result.stdout
    assert "secret" not in result.output


def test_programs_get_the_whole_plan(world: World) -> None:
    result = world.invoke("--format", "json")
    row = json.loads(result.stdout)
    assert (row["manager"], row["scope"], row["state"]) == ("systemd", "user", "installed")
    assert row["path"] == str(world.unit)
    assert row["text"] == world.unit.read_text()
    assert row["steps"][0] == f"write {world.unit}"
    again = json.loads(world.invoke("--format", "json").stdout)
    assert again["state"] == "already installed"


def test_system_service_needs_root(world: World) -> None:
    result = world.invoke("--system")
    assert result.exit_code == 1
    assert "needs root: run this with sudo" in result.stderr


def test_system_service_runs_as_whoever_called_sudo(world: World) -> None:
    root = Account("root", 0, 0, world.home)
    world.facts = replace(world.facts, me=root, groups=("video",))
    result = world.invoke("--print", XDG_STATE_HOME="/of/root")
    assert "User=ann\nSupplementaryGroups=video\n" in result.stdout
    assert "/of/root" not in result.stdout


def test_user_for_a_system_service_must_exist(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "find_account", lambda _name: None)
    result = world.invoke("--system", "--print", "--run-as", "bob")
    assert result.exit_code == 3
    assert "no user bob" in result.stderr
    assert world.invoke("--user", "--run-as", "bob").exit_code == 2


def test_host_without_a_service_system_gets_one_line(world: World) -> None:
    world.facts = replace(world.facts, systemd_runs=False, in_container=True)
    for argv in ([], ["--print"], ["--remove"]):
        result = world.invoke(*argv)
        assert result.exit_code == 1
        assert "pool-managerd its main program" in result.stderr
        assert result.stderr.count("\n") == 1
    assert world.invoke("--system", "--print").exit_code == 0


def test_strangers_unit_is_left_alone(world: World) -> None:
    world.unit.parent.mkdir(parents=True)
    world.unit.write_text("[Unit]\n")
    for argv in ([], ["--remove"]):
        result = world.invoke(*argv)
        assert result.exit_code == 1
        assert "was not made by this command" in result.stderr
    assert world.unit.read_text() == "[Unit]\n"
    assert world.ran == []


def running(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    identity = ProcessIdentity(pid, 1, "boot")
    monkeypatch.setattr(Daemons, "identity", lambda _self, _program: identity)


def test_daemon_that_runs_beside_the_service_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, 4242)
    result = world.invoke()
    assert result.exit_code == 1
    assert "pool-managerd (pid 4242) runs already" in result.stderr
    assert not world.unit.exists()
    assert world.invoke("--no-now").exit_code == 0
    monkeypatch.setattr(services, "service_pid", lambda _service: 4242)
    assert world.invoke().exit_code == 0


def test_failed_start_is_told_in_the_managers_words(world: World) -> None:
    line = "systemctl --user restart pool-managerd.service"
    world.answers[line] = Ran(1, "Job for pool-managerd.service failed.\n")
    result = world.invoke("--format", "json")
    assert result.exit_code == 1
    assert "Job for pool-managerd.service failed." in result.stderr
    assert result.stdout == "", "what failed is not reported as installed"


def test_removal_tells_that_workers_run_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.invoke()
    world.ran.clear()
    monkeypatch.setattr(leftovers, "count_workers", lambda _settings: 2)
    result = world.invoke("--remove")
    assert result.exit_code == 0
    assert not world.unit.exists()
    assert world.ran[0] == "systemctl --user disable --now pool-managerd.service"
    assert "2 workers run on; llorch-pool daemon stop --workers stops all." in result.stderr
    again = world.invoke("--remove", "--format", "json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["state"] == "not installed"


def test_removal_prints_nothing_to_print(world: World) -> None:
    assert world.invoke("--remove", "--print").exit_code == 2


def test_mac_gets_an_agent_with_the_log_that_daemon_logs_shows(world: World) -> None:
    me = Account("ann", os.getuid() or 1000, os.getgid(), world.home)
    world.facts = replace(world.facts, is_mac=True, me=me, owner=me)
    label = f"gui/{me.uid}/llama-orch.pool-managerd"
    world.answers = {f"launchctl print {label}": Ran(113, "")}
    result = world.invoke()
    assert result.exit_code == 0, result.output
    path = world.home / "Library/LaunchAgents/llama-orch.pool-managerd.plist"
    content = plistlib.loads(path.read_bytes())
    log = world.home / "llorch/state/log/pool-managerd.log"
    assert content["StandardErrorPath"] == str(log)
    assert log.exists()
    assert world.ran[-1] == f"launchctl bootstrap gui/{me.uid} {path}"
    assert "llorch-pool daemon logs" in result.stderr


def test_mac_gets_a_daemon_of_the_host_whose_log_lies_outside_of_all_homes(world: World) -> None:
    root = Account("root", 0, 0, world.home)
    world.facts = replace(world.facts, is_mac=True, me=root)
    content = plistlib.loads(world.invoke("--print").stdout.encode("utf-8"))
    assert content["UserName"] == "ann"
    assert content["StandardErrorPath"] == "/Library/Logs/pool-managerd.log"
    assert content["EnvironmentVariables"] == {"LLORCH_HOME": f"{world.home}/llorch"}
