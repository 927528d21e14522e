"""Pools that orchestrator.toml declares."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orchestrator_core.errors import Code, HostError
from orchestratord.store.memory import MemoryStore
from orchestratord.store.memory_tables import MemoryTables
from support.certificates import SIGNED
from support.orchestrator import (
    running_orchestrator,
)
from support.pool_words import HOST_KEY, NOWHERE, enrol, join, refusal_of, register_as


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every line that is logged meanwhile."""
    with capture_logs() as found:
        yield found


def declared(folder: Path, **changes: object) -> dict[str, Any]:
    path = folder / "credential"
    path.write_text("llo_pool_of_the_declared_host\n")
    table = {
        "name": "mac",
        "endpoint": NOWHERE,
        "host_keys": [HOST_KEY],
        "credential_file": str(path),
    }
    return {**table, **changes}


async def test_a_declared_pool_comes_and_goes_with_its_table(
    tmp_path: Path, lines: list[EventDict]
) -> None:
    tables = MemoryTables()

    def running(*pools: dict[str, Any]) -> Any:
        return running_orchestrator(tmp_path, store=MemoryStore(tables), pools=list(pools))

    async with running(declared(tmp_path)) as site:
        pool = (await site.client.get("/v2/pools/mac")).json()
        assert (pool["declared"], pool["road"], pool["joined"]) == (True, "ssh", True)
        assert refusal_of(await site.client.delete("/v2/pools/mac")) == (409, "CONFLICT")
        assert refusal_of(await enrol(site)) == (409, "CONFLICT")
        [row] = await site.store.pools()
        assert row.credential == "llo_pool_of_the_declared_host"
    async with running(declared(tmp_path, daemon_port=9300)) as site:
        [again] = await site.store.pools()
        assert (again.daemon_port, again.created_at_ms) == (9300, row.created_at_ms)
    async with running() as site:
        assert await site.store.pools() == []
    assert "pool.undeclared" in {line["event"] for line in lines}


async def test_a_declared_pool_behind_https_registers_by_the_key_of_its_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "mac.crt").write_text(SIGNED)
    table = declared(
        tmp_path,
        endpoint="https://10.0.0.7:9200",
        host_keys=[],
        certificate_file=str(tmp_path / "mac.crt"),
    )
    tables = MemoryTables()
    for _ in range(2):
        store = MemoryStore(tables)
        async with running_orchestrator(tmp_path, store=store, pools=[table]) as site:
            key = "llo_pool_of_the_declared_host"
            assert (await register_as(site, "mac", key)).status_code == 200
            assert refusal_of(await register_as(site, "box", key)) == (403, "SCOPE")
            assert len([row for row in await site.store.keys() if row.pool_id]) == 1
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        assert refusal_of(await register_as(site, "mac", key)) == (401, "BAD_KEY")


async def test_a_person_who_enrolled_a_host_wins_over_the_file(
    tmp_path: Path, lines: list[EventDict]
) -> None:
    tables = MemoryTables()
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        key = await join(site)
    table = declared(tmp_path)
    store = MemoryStore(tables)
    async with running_orchestrator(tmp_path, store=store, pools=[table]) as site:
        assert (await register_as(site, "mac", key)).status_code == 200
    [line] = [line for line in lines if line["event"] == "pool.declaration_ignored"]
    assert (line["log_level"], line["pool_id"]) == ("warning", "mac")


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "ssh://-oProxyCommand=x"},
        {"endpoint": "http://10.0.0.7:9200"},
        {"endpoint": "https://10.0.0.7:9200"},
        {"host_keys": []},
        {"host_keys": ["x"]},
        {"credential_file": "/does/not/exist"},
    ],
)
async def test_a_table_that_makes_no_sense_ends_the_start_with_one_line(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(HostError) as refused:
        async with running_orchestrator(tmp_path, pools=[declared(tmp_path, **changes)]):
            pass
    assert refused.value.code is Code.CONFIG_INVALID
    assert refused.value.refusal.message.startswith("pool mac: ")
    assert "\n" not in refused.value.refusal.message
    assert "llo_pool" not in str(refused.value)


def behind_https(folder: Path, name: str = "mac", credential: str = "") -> dict[str, Any]:
    (folder / f"{name}.crt").write_text(SIGNED)
    table = declared(
        folder,
        name=name,
        endpoint="https://10.0.0.7:9200",
        host_keys=[],
        certificate_file=str(folder / f"{name}.crt"),
    )
    if credential:
        path = folder / f"{name}.credential"
        path.write_text(credential)
        table["credential_file"] = str(path)
    return table


async def test_a_credential_that_was_revoked_stays_so_and_stops_no_start(
    tmp_path: Path, lines: list[EventDict]
) -> None:
    tables, table = MemoryTables(), behind_https(tmp_path)
    key = "llo_pool_of_the_declared_host"

    def running(*pools: dict[str, Any]) -> Any:
        return running_orchestrator(tmp_path, store=MemoryStore(tables), pools=list(pools))

    async with running(table) as site:
        [row] = [row for row in await site.store.keys() if row.pool_id]
        assert (await site.client.delete(f"/v2/keys/{row.id}")).status_code == 200
    async with running(table) as site:
        assert refusal_of(await register_as(site, "mac", key)) == (401, "BAD_KEY")
    [line] = [line for line in lines if line["event"] == "pool.credential_revoked"]
    assert "put a new one" in line["reason"]
    fresh = behind_https(tmp_path, credential="llo_pool_a_fresh_credential")
    async with running(fresh) as site:
        reply = await register_as(site, "mac", "llo_pool_a_fresh_credential")
        assert reply.status_code == 200, reply.text


async def test_a_table_that_left_and_came_back_lets_the_start_go_on(
    tmp_path: Path, lines: list[EventDict]
) -> None:
    tables = MemoryTables()
    for pools in ([behind_https(tmp_path)], [], [behind_https(tmp_path)]):
        store = MemoryStore(tables)
        async with running_orchestrator(tmp_path, store=store, pools=pools) as site:
            assert len(await site.store.pools()) == len(pools)
    assert "pool.credential_revoked" in {line["event"] for line in lines}


async def test_one_credential_opens_one_pool(tmp_path: Path) -> None:
    pools = [behind_https(tmp_path), behind_https(tmp_path, "box")]
    with pytest.raises(HostError) as refused:
        async with running_orchestrator(tmp_path, pools=pools):
            pass
    message = refused.value.refusal.message
    assert "its credential_file holds a key that belongs to pool" in message
    assert "llo_pool_of" not in message
