import pytest

from orchestrator_core.contracts.pool import Owner, WantedWorker, WorkerStatus
from pool_core.workers.reconcile import Observed, Start, Stop, reconcile
from support.pool_builders import spec

MACHINE, PERSON = Owner.ORCHESTRATOR, Owner.OPERATOR


def wanted(name: str, generation: int = 1) -> WantedWorker:
    return WantedWorker(worker_id=name, generation=generation, spec=spec())


def seen(
    name: str,
    status: WorkerStatus = WorkerStatus.READY,
    *,
    owner: Owner = MACHINE,
    generation: int = 1,
) -> Observed:
    return Observed(name, generation, owner, status)


def test_nothing_to_do_when_all_is_as_wanted() -> None:
    assert reconcile([wanted("a")], [seen("a")], {}) == []


def test_stops_before_it_starts() -> None:
    actions = reconcile([wanted("new")], [seen("old")], {})
    assert actions == [Stop("old"), Start(wanted("new"))]


@pytest.mark.parametrize("status", WorkerStatus)
def test_never_touches_an_operators_worker(status: WorkerStatus) -> None:
    assert reconcile([], [seen("mine", status, owner=PERSON)], {}) == []


def test_a_failed_worker_stays_down_until_a_newer_generation() -> None:
    failed = seen("a", WorkerStatus.FAILED)
    assert reconcile([wanted("a")], [failed], {}) == []
    assert reconcile([wanted("a", 2)], [failed], {}) == [Start(wanted("a", 2))]


def test_a_failed_worker_that_is_no_longer_wanted_is_forgotten() -> None:
    assert reconcile([], [seen("a", WorkerStatus.FAILED)], {}) == [Stop("a")]


def test_a_worker_on_its_way_out_is_left_to_end() -> None:
    draining = seen("a", WorkerStatus.DRAINING)
    assert reconcile([], [draining], {}) == []
    assert reconcile([wanted("a", 2)], [draining], {}) == []


def test_a_stopped_worker_is_started_again_only_by_a_newer_generation() -> None:
    assert reconcile([wanted("a", 3)], [], {"a": 3}) == []
    assert reconcile([wanted("a", 4)], [], {"a": 3}) == [Start(wanted("a", 4))]
