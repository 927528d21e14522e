"""A support bundle of an installation full of secrets: what is in it, and that none of them is."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.bundle import collection
from llorch_ctl.bundle.archive import write_archive
from llorch_ctl.bundle.contents import Contents
from llorch_ctl.bundle.redaction import Redactor
from llorch_ctl.bundle.tails import read_tail, tree_size
from llorch_ctl.main import cli
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import Code, Refusal, error_for
from support.fake_orchestrator import FakeOrchestrator, fake_orchestrator, job
from support.run_files import announce

ADMIN, HUB, SHELL, PEER = (
    "llo_admin_A1b2C3d4E5f6G7h8I9",
    "hf_Zz9Yy8Xx7Ww6Vv5Uu4",
    "swordfish",
    "p33r-k3y",
)
PROMPT, ANSWER = "what is the airspeed of a swallow", "african or european"
POOL: dict[str, Any] = {
    "pool_id": "attic", "status": "online", "endpoint": "http://10.1.2.3:9200", "version": "0.1.0",
    "last_seen_s": 1.0, "devices": [], "workers": [],
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    jobs = [job(output=ANSWER, prompt=PROMPT), job("job_2", status="failed", error_code="POISON")]
    with fake_orchestrator(jobs=jobs, pools=[POOL]) as served:
        yield served


@pytest.fixture
def layout(tmp_path: Path, fake: FakeOrchestrator) -> Layout:
    """An installation with a secret in every place where one could be."""
    home = tmp_path / "home"
    layout = Layout.from_env({"LLORCH_HOME": str(home)})
    for folder in (
        layout.config,
        layout.log_folder,
        layout.worker_logs,
        layout.orchestrator_folder,
    ):
        folder.mkdir(parents=True)
    layout.admin_key.write_text(ADMIN)
    layout.pool_key.write_text("c0ffee" * 8)
    layout.database.write_text(PROMPT + ANSWER)
    layout.orchestrator_ssh_key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    layout.config_file("orchestrator").write_text(f'api_key = "{PEER}"\n')
    layout.config_file("llorch").write_text('[hosts.attic]\nssh = "ada@attic.lan"\n')
    layout.log_file("orchestratord").write_text(f"info Bearer {ADMIN} {HUB}\nsaid {SHELL} twice\n")
    (layout.worker_logs / "w.log").write_text(f"prompt: {PROMPT}\n")
    announce(layout, "orchestratord", fake.url)
    return layout


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemons' own programs are real elsewhere; here they would only take time."""
    monkeypatch.setattr(collection, "_local_pool", lambda *_: {"peer_key": PEER})
    monkeypatch.setattr(collection, "_findings", lambda *_: [{"text": f"Bearer {ADMIN}"}])
    missing = Refusal(Code.INTERNAL, "not here")
    monkeypatch.setattr(collection, "read_configs", lambda _env: {ORCHESTRATORD: missing})


def run(layout: Layout, *args: str) -> Result:
    env = {"LLORCH_HOME": str(layout.state.parent), "HF_TOKEN": SHELL, "HOME": "/people/ada"}
    return CliRunner().invoke(cli, ["support-bundle", *args], env=env, terminal_width=200)


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        assert all(member.mode == 0o600 and not member.uname for member in members)
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in members}
        return {name: stream.read().decode() for name, stream in files.items() if stream}


@pytest.mark.usefixtures("quick")
def test_a_bundle_holds_what_helps_and_no_secret(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    result = run(layout, "--out", str(path))
    assert result.exit_code == 0, result.output
    assert path.stat().st_mode & 0o777 == 0o600
    files = unpacked(path)
    assert set(files) >= {
        "manifest.json", "versions.json", "settings.json", "config/llorch.toml", "doctor.json",
        "config/orchestrator.toml", "run/orchestratord.json", "log/orchestratord.log",
        "orchestrator/pools.json", "orchestrator/jobs.json", "sizes.json", "pool-status.json",
    }  # fmt: skip
    everything = "\n".join(files.values())
    for secret in (ADMIN, HUB, SHELL, PEER, "c0ffee", "OPENSSH", PROMPT, ANSWER):
        assert secret not in everything
    counted = json.loads(files["orchestrator/jobs.json"])
    assert counted["status"] == {"completed": 1, "failed": 1}
    assert counted["error_code"] == {"POISON": 1}
    for name in files:
        assert name in result.stdout
    assert json.loads(files["manifest.json"])["files"].keys() == files.keys() - {"manifest.json"}


@pytest.mark.usefixtures("quick")
def test_what_a_key_file_holds_is_gone_wherever_it_is_quoted(
    layout: Layout, tmp_path: Path
) -> None:
    host_key = layout.config / "attic.key"
    files = [
        layout.pool_key, layout.pool_join_token, layout.pool_credential, layout.pool_tls_key,
        layout.pool_orchestrator_key, layout.local_pool_key, layout.orchestrator_ssh_key, host_key,
        layout.worker_records / "w.key",
    ]  # fmt: skip
    # Nothing tells that these are secrets but the files that they stand in.
    secrets = [f"quiet harbour number {number}".replace(" ", "-") for number in range(len(files))]
    for file, secret in zip(files, secrets, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{secret}\n")
    quoted = "".join(f"info heard {secret} today\n" for secret in secrets)
    layout.log_file("pool-managerd").write_text(quoted)
    layout.config_file("llorch").write_text('[hosts.attic]\nkey_file = "attic.key"\n')
    path = tmp_path / "b.tar.gz"
    assert run(layout, "--out", str(path), "--worker-logs").exit_code == 0
    shown = unpacked(path)["log/pool-managerd.log"]
    assert [secret for secret in secrets if secret in shown] == []
    assert shown.count("today") == len(secrets)


@pytest.mark.usefixtures("quick")
def test_an_anonymous_bundle_names_nobody(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    result = run(layout, "--out", str(path), "--anonymous")
    assert result.exit_code == 0, result.output
    everything = "\n".join(unpacked(path).values())
    for name in ("ada", "attic", "10.1.2.3"):
        assert name not in everything
    assert "user@host-1" in everything


@pytest.mark.usefixtures("quick")
def test_engine_logs_come_only_when_they_are_asked_for(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    run(layout, "--out", str(path), "--worker-logs")
    assert PROMPT in unpacked(path)["log/workers/w.log"]


@pytest.mark.usefixtures("quick")
def test_nothing_that_is_there_is_replaced(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("mine")
    result = run(layout, "--out", str(path))
    assert (result.exit_code, path.read_text()) == (1, "mine")
    assert f"{path} is there already: name another file with --out (CONFLICT)" in result.stderr


@pytest.mark.usefixtures("quick")
def test_an_orchestrator_that_is_away_is_left_out_and_named(
    layout: Layout, fake: FakeOrchestrator, tmp_path: Path
) -> None:
    fake.refusals["GET /v2/pools"] = (401, "BAD_KEY", "this key opens nothing")
    result = run(layout, "--out", str(tmp_path / "b.tar.gz"), "--format", "json")
    rows = {row["name"]: row for row in json.loads(result.stdout)["files"]}
    assert rows["orchestrator/pools.json"]["left_out"] == "this key opens nothing"


def test_a_part_that_fails_costs_itself_alone() -> None:
    contents = Contents(Redactor())

    def fail() -> object:
        raise RuntimeError(f"Bearer {ADMIN}")

    contents.take("a.txt", fail)
    contents.take("b.txt", lambda: "fine")
    contents.take("c.txt", lambda: None)
    assert contents.files == {"b.txt": b"fine"}
    assert contents.left_out == {"a.txt": "RuntimeError: Bearer [redacted]"}


def test_a_refusal_is_told_in_its_own_words() -> None:
    contents = Contents(Redactor())

    def fail() -> object:
        raise error_for(Refusal(Code.UNREACHABLE, "nobody answers"))

    contents.take("a.txt", fail)
    assert contents.left_out == {"a.txt": "nobody answers"}


def test_the_whole_stays_within_its_limit() -> None:
    contents = Contents(Redactor(), limit_bytes=100)
    contents.put("a", "word " * 15)
    contents.put("b", "word " * 15)
    assert set(contents.files) == {"a"}
    assert "too large" in contents.left_out["b"]


def test_the_end_of_a_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text(f"Bearer {ADMIN}\nlast\n")
    assert read_tail(log, 1000) == f"Bearer {ADMIN}\nlast\n"
    assert read_tail(log, 15) == "last\n"
    log.write_text("x" * 100)
    assert read_tail(log, 10) == "one line, longer than what is taken of this file\n"
    assert read_tail(tmp_path / "none", 10) is None


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = write_archive(tmp_path / "none" / "b.tar.gz", {}, unix_s=0)
    assert isinstance(refused, Refusal)
    assert "No such file" in refused.message


def test_a_folder_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("123")
    assert tree_size(tmp_path) == {"files": 1, "size_bytes": 3}
