import os
from pathlib import Path

import pytest

from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.adoption import adopt
from pool_core.workers.ledger import Ledger
from pool_core.workers.process import Host
from pool_core.workers.tending import engine_version
from support.pool_builders import StillPlatform, record, worker_id

US = ProcessIdentity(os.getpid(), 5, "boot")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.prepare()
    return made


def host(ledger: Ledger, platform: StillPlatform) -> Host:
    return Host(platform, ledger, Path("/bin/llorch-worker"), "instance", {})


def test_the_record_of_a_dead_worker_is_removed(ledger: Ledger) -> None:
    ledger.write(record(1, pid=US.pid, start_time=4, boot_id="boot"))
    ledger.write_key(worker_id(1), "key")
    assert adopt(host(ledger, StillPlatform({US.pid: US}))).workers == []
    assert ledger.load().records == []


def test_a_forged_record_makes_nothing_happen_to_a_foreign_process(ledger: Ledger) -> None:
    platform = StillPlatform({US.pid: US})
    ledger.write(record(1, pid=US.pid, start_time=US.start_time, boot_id=US.boot_id))
    ledger.write_key(worker_id(1), "key")
    found = adopt(host(ledger, platform))
    assert (found.workers, found.orphans, platform.signalled) == ([], [], [])
    assert ledger.load().records == []


def test_an_intent_without_a_process_is_removed(ledger: Ledger) -> None:
    ledger.write(record(1))
    assert adopt(host(ledger, StillPlatform())).workers == []
    assert ledger.load().records == []


def test_finds_the_engines_version_in_the_workers_words() -> None:
    line = '{"event": "listening", "url": "http://127.0.0.1:1", "version": "1.2"}'
    assert engine_version(["noise", line, '{"event": "draining"}']) == "1.2"
    assert engine_version(["noise"]) is None
    assert engine_version(['{"event": "listening", "version": ']) is None
