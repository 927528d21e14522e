"""What is read of this machine: files, modes, ports, settings, and the orchestrator's clock."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llorch_ctl.diagnosis import daemon_settings, orchestrator_reading
from llorch_ctl.diagnosis.daemon_reading import read_daemons, read_faults
from llorch_ctl.diagnosis.daemon_settings import read_daemon_settings
from llorch_ctl.diagnosis.examination import Wanted, examine
from llorch_ctl.diagnosis.host_reading import read_hosts
from llorch_ctl.diagnosis.local_reading import read_local, read_ssh
from llorch_ctl.diagnosis.orchestrator_reading import read_orchestrator
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.errors import Code, Refusal
from support.fake_orchestrator import FakeOrchestrator, fake_orchestrator
from support.run_files import announce


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliSettings:
    for name in ("LLORCH_API_KEY", "LLORCH_ORCHESTRATOR_URL", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return CliSettings.from_environment()


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator() as served:
        yield served


def test_an_empty_machine_can_be_read(settings: CliSettings) -> None:
    local, ssh = read_local(settings), read_ssh(settings)
    assert {folder.name for folder in local.folders} == {"state", "data", "config"}
    assert all(folder.is_writable and folder.free_bytes for folder in local.folders)
    assert local.programs["orchestratord"]
    assert (ssh.keys, ssh.agent, ssh.agent_answers) == ((), None, False)
    assert not settings.layout.state.exists()


def test_secrets_that_others_can_read_are_found(settings: CliSettings) -> None:
    settings.layout.orchestrator_folder.mkdir(parents=True)
    settings.layout.state.mkdir(parents=True)
    for path, mode in (
        (settings.layout.admin_key, 0o644),
        (settings.layout.orchestrator_ssh_key, 0o640),
        (settings.layout.local_pool_key, 0o600),
    ):
        path.write_text("x")
        path.chmod(mode)
    found = read_local(settings).open_secrets
    assert set(found) == {settings.layout.admin_key, settings.layout.orchestrator_ssh_key}


def test_keys_and_agent_of_the_user_are_found(
    settings: CliSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "user" / ".ssh"
    folder.mkdir(parents=True)
    (folder / "id_ed25519").write_text("x")
    (folder / "id_ed25519").chmod(0o644)
    (folder / "known_hosts").write_text("mac ssh-ed25519 AAAA\n")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        ssh = read_ssh(CliSettings.from_environment())
    assert ssh.keys == ssh.open_keys == (folder / "id_ed25519",)
    assert ssh.agent_answers
    assert folder / "known_hosts" in ssh.known_hosts


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "daemon"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(daemon_settings, "find_program", lambda _name: path)


def test_a_daemon_tells_its_settings_and_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "program": "x", "version": "1", "file": "/f", "settings": {"a": {"b": 1}, "c": None},
        "origins": {"a.b": "file /f", "c": "default"}, "descriptions": {"c": "What"},
    }  # fmt: skip
    program(tmp_path, monkeypatch, f"echo '{json.dumps(told)}'")
    found = read_daemon_settings(ORCHESTRATORD, {})
    assert not isinstance(found, Refusal)
    assert found.settings == {"a.b": 1, "c": None}
    assert found.descriptions == {"c": "What"}


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (
            'echo "orchestratord: key \\"x\\": bad" >&2; exit 78',
            Code.CONFIG_INVALID,
            'key "x": bad',
        ),
        ("exit 3", Code.CONFIG_INVALID, "exit code 3"),
        ("echo nonsense", Code.VERSION_SKEW, "one version"),
        ("echo '[]'", Code.VERSION_SKEW, "one version"),
    ],
)
def test_a_daemon_that_does_not_tell_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: Code, words: str
) -> None:
    program(tmp_path, monkeypatch, script)
    found = read_daemon_settings(ORCHESTRATORD, {})
    assert isinstance(found, Refusal)
    assert (found.code, words in found.message) == (code, True)


def test_every_wrong_settings_file_is_named(settings: CliSettings) -> None:
    settings.layout.config.mkdir(parents=True)
    settings.layout.config_file("llorch").write_text("[hosts.mac]\nshh = 1\n")
    settings.layout.user_catalog.write_text("[[")
    wrong = Refusal(Code.CONFIG_INVALID, "pool.toml: no")
    missing = Refusal(Code.INTERNAL, "not installed")
    faults = read_faults(settings, {ORCHESTRATORD: missing, POOL_MANAGERD: wrong})
    assert [fault.subject for fault in faults] == ["llorch.toml", "pool.toml", "catalog.toml"]
    assert 'did you mean "ssh"' in faults[0].text


def test_the_holder_of_a_daemons_port_is_found(
    settings: CliSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        bind = f"127.0.0.1:{server.getsockname()[1]}"
        told: dict[str, Any] = {"settings": {"bind": bind}, "origins": {"bind": "default"}}
        program(tmp_path, monkeypatch, f"echo '{json.dumps(told)}'")
        config = read_daemon_settings(ORCHESTRATORD, {})
        (facts,) = read_daemons(settings, {ORCHESTRATORD: config})
    assert (facts.bind, facts.run_pid) == (bind, None)
    assert facts.holder is not None
    assert facts.holder.pid


def test_a_daemon_that_is_not_installed_is_left_out(settings: CliSettings) -> None:
    missing = Refusal(Code.INTERNAL, "not installed")
    assert read_daemons(settings, {POOL_MANAGERD: missing}) == ()


class FixedClock:
    """Noon, on the day of the header."""

    def unix_ms(self) -> int:
        return 1_000_000_000_000

    def monotonic_s(self) -> float:
        return 0.0


def test_the_clock_of_the_orchestrator_is_compared_with_ours(
    settings: CliSettings, fake: FakeOrchestrator
) -> None:
    announce(settings.layout, "orchestratord", fake.url)
    facts = read_orchestrator(settings, None, FixedClock())
    assert facts.refusal is None
    assert facts.origin.startswith("run file")
    # The script's server tells its own time, which is far ahead of noon of that day.
    assert facts.ahead_s is not None
    assert facts.ahead_s > 10_000_000


def test_an_orchestrator_that_refuses_is_a_fact(
    settings: CliSettings, fake: FakeOrchestrator
) -> None:
    fake.refusals["GET /v2/pools"] = (401, "BAD_KEY", "this key opens nothing")
    facts = read_orchestrator(settings, fake.url)
    assert (facts.url, facts.origin) == (fake.url, "flag")
    assert facts.refusal is not None
    assert facts.refusal.code is Code.BAD_KEY


def test_an_orchestrator_that_says_nothing_is_not_waited_for_long(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator_reading, "_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        facts = read_orchestrator(settings, url)
    assert facts.refusal is not None
    assert facts.refusal.code is Code.TIMEOUT


async def test_hosts_that_cannot_be_reached_say_so(
    settings: CliSettings, fake: FakeOrchestrator
) -> None:
    fake.raw["GET /health"] = (200, '{"status": "ok"}')
    entries = [
        HostEntry("web", None, fake.url),
        HostEntry("away", None, "http://127.0.0.1:1"),
    ]
    web, away = await read_hosts(settings, entries)
    assert (web.name, web.refusal, web.way) == ("web", None, "http")
    assert away.refusal is not None
    assert away.refusal.code is Code.UNREACHABLE


def test_a_part_that_fails_is_named_and_the_rest_is_read(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLORCH_ORCHESTRATOR_URL", "nonsense")
    facts = examine(CliSettings.from_environment(), Wanted())
    assert facts.local is not None
    assert facts.orchestrator is None
    assert "is not a URL" in facts.unread["orchestrator"]
