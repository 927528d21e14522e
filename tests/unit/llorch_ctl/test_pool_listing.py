"""llorch pool list, drain and resume against a scripted orchestrator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.commands.pool.listing import pool_line
from llorch_ctl.main import cli
from orchestrator_core.console import watching
from support.fake_orchestrator import FakeOrchestrator, fake_orchestrator

CPU: dict[str, Any] = {
    "id": "cpu", "index": 0, "kind": "cpu", "name": "Some CPU", "backends": ["cpu"],
    "memory_total_bytes": 2**33, "memory_free_bytes": 2**32,
}  # fmt: skip
GPU = CPU | {"id": "gpu", "kind": "gpu", "name": "Some GPU", "backends": ["cuda"]}
MAC: dict[str, Any] = {
    "pool_id": "mac", "status": "online", "endpoint": "ssh://me@mac", "version": "0.1.0",
    "last_seen_s": 1.5, "devices": [CPU, GPU, GPU | {"id": "gpu2"}], "workers": [], "road": "ssh",
}  # fmt: skip
NEW = MAC | {
    "pool_id": "new", "status": "lost", "version": "", "last_seen_s": None, "devices": [],
    "link": "needs_attention", "reason": "the host key has changed: llorch host trust new",
}  # fmt: skip
DRAINED = {
    "pool_id": "mac", "version": "0.1.0", "session_id": "s", "orchestrator_url": None,
    "orchestrator_connected": True, "draining": True, "devices": [], "workers": [], "models": [],
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator(pools=[MAC, NEW]) as served:
        yield served


def run(fake: FakeOrchestrator, tmp_path: Path, *args: str) -> Result:
    env = {"LLORCH_HOME": str(tmp_path), "LLORCH_ORCHESTRATOR_URL": fake.url}
    return CliRunner().invoke(cli, ["pool", *args], env=env, terminal_width=200)


def test_a_pool_is_one_line_with_what_it_has_and_what_it_needs(
    fake: FakeOrchestrator, tmp_path: Path
) -> None:
    result = run(fake, tmp_path, "list")
    assert result.exit_code == 0, result.output
    head, mac, new = result.stdout.splitlines()
    assert head.split() == [
        "POOL", "STATUS", "ROAD", "DEVICES", "WORKERS", "VERSION", "LAST", "SEEN", "WHAT", "TO", "DO",
    ]  # fmt: skip
    assert "2 x Some GPU 8 GiB" in mac
    assert "Some CPU" not in mac
    assert "1.5 s ago" in mac
    assert "never" in new
    assert new.endswith("llorch host trust new")


def test_json_is_an_array_with_every_device(fake: FakeOrchestrator, tmp_path: Path) -> None:
    mac, new = json.loads(run(fake, tmp_path, "list", "--format", "json").stdout)
    assert [device["id"] for device in mac["devices"]] == ["cpu", "gpu", "gpu2"]
    assert (new["road"], new["link"], new["last_seen_s"]) == ("ssh", "needs_attention", None)


def test_workers_are_counted_by_what_they_can_do() -> None:
    workers = [{"status": "ready"}, {"status": "busy"}, {"status": "loading"}]
    assert pool_line(MAC | {"workers": workers})["workers"] == "2/3 ready"
    assert pool_line(MAC)["workers"] == "0"


def test_a_list_can_be_watched(
    fake: FakeOrchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = iter([None, None])

    def pause(_seconds: float) -> None:
        fake.pools = [NEW]
        if next(frames, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.Rhythm.__init__, "__defaults__", (pause, lambda: 0))
    result = run(fake, tmp_path, "list", "--watch", "--format", "json")
    assert result.exit_code == 0, result.output
    shown = [[row["pool_id"] for row in json.loads(line)] for line in result.stdout.splitlines()]
    assert shown == [["mac", "new"], ["new"], ["new"]]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("drain", "mac is draining: llorch pool resume mac ends it\n"),
        ("resume", "mac takes workers and jobs\n"),
    ],
)
def test_a_pool_is_closed_and_opened_and_twice_is_no_mistake(
    fake: FakeOrchestrator, tmp_path: Path, verb: str, said: str
) -> None:
    fake.raw[f"POST /v2/pools/mac/{verb}"] = (200, json.dumps(DRAINED))
    for _ in range(2):
        result = run(fake, tmp_path, verb, "mac")
        assert (result.exit_code, result.stdout) == (0, said)
    shown = json.loads(run(fake, tmp_path, verb, "mac", "--format", "json").stdout)
    assert shown == {"pool_id": "mac", "draining": verb == "drain"}


def test_an_unknown_pool_is_not_found(fake: FakeOrchestrator, tmp_path: Path) -> None:
    fake.refusals["POST /v2/pools/attic/drain"] = (404, "POOL_NOT_FOUND", "there is no pool attic")
    result = run(fake, tmp_path, "drain", "attic")
    assert (result.exit_code, result.stderr) == (
        3, "error: there is no pool attic (POOL_NOT_FOUND)\n",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "-x", "a/../b", "a b", "a\nb", "\uff4dac", "x" * 65])
def test_a_name_that_is_none_is_wrong_usage_before_any_call(
    fake: FakeOrchestrator, tmp_path: Path, name: str
) -> None:
    result = run(fake, tmp_path, "drain", "--", name)
    assert result.exit_code == 2
    assert "is no pool; llorch pool list shows them" in result.stderr
    assert fake.asked == []
