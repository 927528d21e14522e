"""Completion by click's protocol: commands without any import, live names from files and daemons."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import llorch_ctl.main
import pool_ctl.main
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, fake_orchestrator, key

POOL = {
    "pool_id": "attic", "status": "online", "endpoint": "http://x:1", "version": "1",
    "last_seen_s": 1.0, "devices": [],
    "workers": [{"name": "tiny-chat-1", "status": "ready", "model": "tiny-chat"}],
}  # fmt: skip
CELLAR = POOL | {"pool_id": "cellar", "workers": [{"name": "cellar-1", "status": "ready"}]}


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator(
        pools=[POOL, CELLAR], keys=[key(), key("key_2", name="old", revoked_at="x")]
    ) as it:
        it.raw["GET /v1/models"] = (200, json.dumps({"data": [{"id": "tiny-chat"}]}))
        it.raw["GET /workers"] = (200, json.dumps({"items": POOL["workers"]}))
        it.raw["GET /models"] = (200, json.dumps({"items": [{"id": "tiny-story"}]}))
        it.raw["GET /models/catalog"] = (200, json.dumps({"items": [{"id": "qwen"}]}))
        yield it


def complete(
    program: str, words: str, tmp_path: Path, url: str = "http://127.0.0.1:1", behind: str = ""
) -> list[str]:
    """The words of a line up to the cursor, and what stands behind it."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    line = f"{program} {words}"
    env = {
        "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), variable: "zsh_complete",
        "LLORCH_COMPLETION_LINE": f"{line} {behind}", "LLORCH_HOME": str(tmp_path),
        "LLORCH_ORCHESTRATOR_URL": url, "LLORCH_POOL_URL": url,
    }  # fmt: skip
    cli = llorch_ctl.main.cli if program == "llorch" else pool_ctl.main.cli
    result: Result = CliRunner().invoke(cli, [], env=env, prog_name=program)
    assert (result.exit_code, result.stderr) == (0, "")
    # Kind, name and help, a line each.
    return result.stdout.splitlines()[1::3]


@pytest.mark.parametrize(
    ("program", "words", "names"),
    [
        ("llorch", "jobs status ", [JOB_ID]),
        ("llorch", "jobs cancel job_", [JOB_ID]),
        ("llorch", "jobs submit --model ti", ["tiny-chat"]),
        ("llorch", "jobs submit --pin-pool ", ["attic", "cellar"]),
        ("llorch", "pool drain at", ["attic"]),
        ("llorch", "keys revoke ", ["laptop"]),
        ("llorch", "pool worker stop ", ["tiny-chat-1", "cellar-1"]),
        ("llorch", "pool worker --host cellar stop ", ["cellar-1"]),
        ("llorch", "pool --host cellar worker logs ", ["cellar-1"]),
        ("llorch", "pool models delete --host attic ", ["tiny-chat"]),
        ("llorch", "pool worker spawn cpu --host attic --model ", ["tiny-chat"]),
        ("llorch", "pool worker --host attic s", ["spawn", "stop"]),
        ("llorch", "pool git --host attic submodules ", []),
        ("llorch-pool", "worker stop ", ["tiny-chat-1"]),
        ("llorch-pool", "worker logs x", []),
        ("llorch-pool", "models info ", ["tiny-story", "qwen"]),
        ("llorch-pool", "models delete ", ["tiny-story"]),
        ("llorch-pool", "worker spawn cpu --model q", ["qwen"]),
    ],
)
def test_live_names_come_from_the_running_daemon(
    fake: FakeOrchestrator, tmp_path: Path, program: str, words: str, names: list[str]
) -> None:
    assert complete(program, words, tmp_path, fake.url) == names


@pytest.mark.parametrize(
    ("behind", "names"),
    [("--host cellar", ["cellar-1"]), ("--host auto", ["tiny-chat-1", "cellar-1"]), ("'", None)],
)
def test_a_host_behind_the_cursor_counts(
    fake: FakeOrchestrator, tmp_path: Path, behind: str, names: list[str] | None
) -> None:
    found = complete("llorch", "pool worker stop ", tmp_path, fake.url, behind)
    assert found == (names or ["tiny-chat-1", "cellar-1"])


@pytest.mark.parametrize(
    "words", ["host check ", "host remove ", "pool worker --host ", "support-bundle --host "]
)
def test_hosts_come_from_a_file_and_no_call(tmp_path: Path, words: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llorch.toml").write_text('[hosts.mac]\nssh = "me@mac"\n[hosts.box]\n')
    assert complete("llorch", words, tmp_path) == ["mac", "box"]


def test_a_daemon_that_is_away_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert complete("llorch", "jobs status ", tmp_path) == []


def test_a_hosts_file_that_is_wrong_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llorch.toml").write_text("[[")
    assert complete("llorch", "host check ", tmp_path) == []


@pytest.mark.parametrize(
    ("program", "words", "names"),
    [
        ("llorch", "jo", ["jobs"]),
        ("llorch", "dev ", ["doctor", "check", "setup"]),
        ("llorch", "pool dr", ["drain"]),
        ("llorch", "completion ", ["bash", "zsh", "fish"]),
        ("llorch", "jobs list --form", ["--format"]),
        ("llorch-pool", "mod", ["models"]),
    ],
)
def test_commands_and_flags_are_completed(
    tmp_path: Path, program: str, words: str, names: list[str]
) -> None:
    assert complete(program, words, tmp_path) == names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_completes_both_programs(shell: str) -> None:
    result = CliRunner().invoke(llorch_ctl.main.cli, ["completion", shell])
    assert result.exit_code == 0
    for variable in ("_LLORCH_COMPLETE", "_LLORCH_POOL_COMPLETE"):
        assert f"{variable}={shell}_complete" in result.stdout
    assert result.stdout.count("LLORCH_COMPLETION_LINE=") == 2


def test_another_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(llorch_ctl.main.cli, ["completion", "tcsh"]).exit_code == 2
