"""The doctor as a command, and the switch that closes a pool for new workers."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator_core.clients import pool as pool_clients
from orchestrator_core.contracts.pool import PoolStatusView
from orchestrator_core.errors import LlorchError
from orchestrator_core.findings import Finding, Severity
from pool_core.doctor import findings
from pool_ctl.commands.dev import dev, doctor
from pool_ctl.commands.draining import drain, resume
from pool_ctl.settings import CliSettings
from support.run_files import announce


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliSettings:
    """An installation where nothing runs and nothing is configured."""
    for name in ("LLORCH_API_KEY", "LLORCH_POOL_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLORCH_HOME", str(tmp_path))
    monkeypatch.setenv("LLORCH_POOL_BIND", "127.0.0.1:0")
    return CliSettings.from_environment()


def invoke(command: click.Command, settings: CliSettings, *argv: str) -> Result:
    return CliRunner().invoke(command, argv, obj=settings, standalone_mode=False)


def test_the_doctor_tells_of_this_host_without_a_daemon(settings: CliSettings) -> None:
    result = invoke(doctor, settings, "--format", "json")
    rows = json.loads(result.stdout)
    assert set(rows[0]) == {"severity", "subject", "text", "fix"}
    subjects = [row["subject"] for row in rows]
    assert {"python", "engine", "worker program", "pool folder", "daemon"} <= set(subjects)
    errors = [row for row in rows if row["severity"] == "error"]
    assert result.return_value == (1 if errors else 0)


def test_the_doctor_writes_nothing(settings: CliSettings, tmp_path: Path) -> None:
    invoke(doctor, settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("severity", "code"),
    [(Severity.OK, 0), (Severity.NOTE, 0), (Severity.WARNING, 0), (Severity.ERROR, 1)],
)
def test_only_an_error_ends_with_a_failure(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch, severity: Severity, code: int
) -> None:
    found = [Finding(severity, "cellar", "is flooded", "pump it dry")]
    monkeypatch.setattr(findings, "judge", lambda _facts: found)
    result = invoke(doctor, settings)
    assert result.return_value == code
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["SEVERITY", "SUBJECT", "FINDING", "FIX"]
    assert "pump it dry" in lines[1]
    assert result.stderr == f"1 {severity.value}\n"


def test_the_group_offers_the_doctor() -> None:
    assert "doctor" in CliRunner().invoke(dev, []).stdout


@pytest.mark.parametrize("command", [drain, resume], ids=["drain", "resume"])
def test_the_switch_needs_a_daemon(settings: CliSettings, command: click.Command) -> None:
    result = invoke(command, settings)
    assert isinstance(result.exception, LlorchError)
    assert "llorch-pool daemon start" in result.exception.refusal.message


class SwitchedPool:
    """A daemon that only knows its switch."""

    def __init__(
        self, url: str, key: str | None, *, timeout_s: float, trust: object = None
    ) -> None:
        assert trust is None
        assert (url, key) == ("http://127.0.0.1:9", "the-key")
        assert timeout_s > 0

    def __enter__(self) -> "SwitchedPool":
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def drain(self) -> PoolStatusView:
        return self._view(draining=True)

    def resume(self) -> PoolStatusView:
        return self._view(draining=False)

    def _view(self, *, draining: bool) -> PoolStatusView:
        return PoolStatusView(
            pool_id="attic",
            version="1",
            session_id="",
            orchestrator_url=None,
            orchestrator_connected=False,
            draining=draining,
            devices=[],
            workers=[],
            models=[],
        )


@pytest.fixture
def running(settings: CliSettings, monkeypatch: pytest.MonkeyPatch) -> CliSettings:
    """The same installation with a daemon."""
    announce(settings.layout, "pool-managerd", "http://127.0.0.1:9")
    settings.layout.pool_folder.mkdir(parents=True)
    settings.layout.pool_key.write_text("the-key\n")
    monkeypatch.setattr(pool_clients, "PoolClient", SwitchedPool)
    return settings


def test_the_switch_says_where_it_stands(running: CliSettings) -> None:
    assert invoke(drain, running).stdout == (
        "attic is draining: llorch-pool daemon resume ends it\n"
    )
    assert invoke(resume, running).stdout == "attic takes the orchestrator's workers and jobs\n"
    shown = json.loads(invoke(drain, running, "--format", "json").stdout)
    assert shown == {"pool_id": "attic", "draining": True}
