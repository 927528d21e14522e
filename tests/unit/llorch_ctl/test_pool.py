"""llorch pool status shows hosts, devices and workers, and never a worker's key."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from llorch_ctl.main import cli
from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.resolve import Catalog
from support.fake_orchestrator import fake_orchestrator

ENTRY = Catalog.load().resolve("tiny-chat")
assert isinstance(ENTRY, CatalogEntry)
POOL: dict[str, Any] = {
    "pool_id": "box", "status": "online", "endpoint": "http://127.0.0.1:9200", "version": "0.1.0",
    "last_seen_s": 1.5,
    "devices": [
        {
            "id": "cpu", "index": 0, "kind": "cpu", "name": "Some CPU", "backends": ["cpu"],
            "memory_total_bytes": 2**33, "memory_free_bytes": 2**32,
        }
    ],
    "workers": [
        {
            "id": "wrk_1", "name": "tiny-chat-1", "owner": "orchestrator", "status": "ready",
            "model": "tiny-chat", "task": "generate", "backend": "cpu", "slots_total": 1,
            "spec": spec_for(ENTRY).model_dump(mode="json"), "key": "never-shown",
            "started_at": "2026-01-01T00:00:00Z", "port": 8001, "pid": 77,
        }
    ],
}  # fmt: skip


def run(tmp_path: Path, pools: list[dict[str, Any]], *args: str) -> Result:
    with fake_orchestrator(pools=pools) as fake:
        env = {"LLORCH_HOME": str(tmp_path)}
        return CliRunner().invoke(cli, ["pool", "status", "--url", fake.url, *args], env=env)


def test_tables_show_pool_devices_and_workers(tmp_path: Path) -> None:
    result = run(tmp_path, [POOL])
    assert result.exit_code == 0
    pools, devices, workers = result.stdout.split("\n\n")
    assert pools.splitlines()[1].split() == [
        "box", "online", "http://127.0.0.1:9200", "0.1.0", "1.5", "s", "ago",
    ]  # fmt: skip
    assert devices.splitlines()[1].split()[-4:] == ["4", "GiB", "8", "GiB"]
    assert workers.splitlines()[1].split()[1:4] == ["wrk_1", "tiny-chat-1", "tiny-chat"]
    assert "never-shown" not in result.output


def test_json_is_an_array_of_pools_without_keys(tmp_path: Path) -> None:
    result = run(tmp_path, [POOL], "--format", "json")
    (pool,) = json.loads(result.stdout)
    assert pool["workers"][0]["slots_total"] == 1
    assert "never-shown" not in result.output


def test_no_pool_is_said_on_stderr(tmp_path: Path) -> None:
    result = run(tmp_path, [])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no pool has registered yet\n"
