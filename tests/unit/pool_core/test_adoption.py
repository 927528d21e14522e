import os
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.adoption import Adopted, adopt
from pool_core.workers.classify import Failure
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


def test_the_orchestrators_dead_worker_is_forgotten(ledger: Ledger) -> None:
    ledger.write(record(1, pid=US.pid, start_time=4, boot_id="boot"))
    ledger.write_key(worker_id(1), "key")
    assert adopt(host(ledger, StillPlatform({US.pid: US}))) == Adopted()
    assert ledger.load().records == []


def test_a_persons_dead_worker_is_shown_until_it_is_cleared_away(ledger: Ledger) -> None:
    ledger.write(record(1, owner=Owner.OPERATOR, pid=US.pid, start_time=4, boot_id="boot"))
    [charge] = adopt(host(ledger, StillPlatform({US.pid: US}))).ended
    assert (charge.status, charge.failure) == (WorkerStatus.FAILED, None)
    assert charge.exited.is_set()
    assert len(ledger.load().records) == 1


def test_the_reason_of_an_end_that_was_seen_before_is_kept(ledger: Ledger) -> None:
    known = record(
        1,
        owner=Owner.OPERATOR,
        pid=US.pid,
        start_time=4,
        boot_id="boot",
        failure_code=Code.MODEL_INCOMPATIBLE,
        failure_message="too new",
    )
    ledger.write(known)
    [charge] = adopt(host(ledger, StillPlatform({US.pid: US}))).ended
    assert charge.failure == Failure(Code.MODEL_INCOMPATIBLE, "too new")


def test_a_start_that_ended_before_it_had_a_name_is_told_too(ledger: Ledger) -> None:
    known = {"failure_code": Code.MODEL_INCOMPATIBLE, "failure_message": "too new"}
    ledger.write(record(1, owner=Owner.OPERATOR, **known))
    [charge] = adopt(host(ledger, StillPlatform({US.pid: US}))).ended
    assert charge.failure == Failure(Code.MODEL_INCOMPATIBLE, "too new")


def test_a_parked_worker_stays_parked(ledger: Ledger) -> None:
    facts = {"pid": 7, "start_time": 4, "boot_id": "boot", "failure_code": Code.WORKER_LOST}
    ledger.write(record(1, owner=Owner.OPERATOR, parked=True, **facts))
    [charge] = adopt(host(ledger, StillPlatform({US.pid: US}))).ended
    assert charge.status is WorkerStatus.PARKED


def test_no_worker_of_an_earlier_boot_comes_back_by_itself(ledger: Ledger) -> None:
    ledger.write(record(1, owner=Owner.OPERATOR, pid=7, start_time=4, boot_id="an earlier one"))
    [charge] = adopt(host(ledger, StillPlatform({US.pid: US}))).ended
    assert charge.status is WorkerStatus.PARKED
    assert charge.failure is not None
    assert "the host was restarted" in charge.failure.message


@pytest.mark.parametrize("owner", Owner)
def test_a_forged_record_makes_nothing_happen_to_a_foreign_process(
    ledger: Ledger, owner: Owner
) -> None:
    platform = StillPlatform({US.pid: US})
    facts = {"pid": US.pid, "start_time": US.start_time, "boot_id": US.boot_id}
    ledger.write(record(1, owner=owner, **facts))
    ledger.write_key(worker_id(1), "key")
    assert adopt(host(ledger, platform)) == Adopted()
    assert platform.signalled == []
    assert ledger.load().records == []


@pytest.mark.parametrize("owner", Owner)
def test_an_intent_without_a_process_is_removed(ledger: Ledger, owner: Owner) -> None:
    ledger.write(record(1, owner=owner))
    assert adopt(host(ledger, StillPlatform())) == Adopted()
    assert ledger.load().records == []


def test_finds_the_engines_version_in_the_workers_words() -> None:
    line = '{"event": "listening", "url": "http://127.0.0.1:1", "version": "1.2"}'
    assert engine_version(["noise", line, '{"event": "draining"}']) == "1.2"
    assert engine_version(["noise"]) is None
    assert engine_version(['{"event": "listening", "version": ']) is None
