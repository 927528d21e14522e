import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.charge import Charge
from pool_core.workers.memory import Promise
from pool_core.workers.roster import Place, Roster
from support.pool_builders import charge, spec, worker_id

ONE = worker_id(1)


def roster(*charges: Charge) -> Roster:
    made = Roster(frozenset({8001}), lambda _port: True)
    for known in charges:
        made.add(known)
    return made


def code(answer: object) -> Code:
    assert isinstance(answer, Refusal)
    return answer.code


def test_finds_a_worker_by_id_and_by_name() -> None:
    known = charge(1)
    workers = roster(known)
    assert workers.find(ONE) is workers.find("worker-cpu-0") is known
    assert workers.find("worker-cpu-1") is None


def test_gives_free_names_and_ports() -> None:
    workers = roster(charge(2))
    assert workers.place(worker_id(5), spec(), 0) == Place("worker-cpu-0-2", 8003, 1)


def test_a_failed_worker_keeps_its_name_but_not_its_port() -> None:
    failed = charge(2)
    failed.status = WorkerStatus.FAILED
    assert roster(failed).place(worker_id(5), spec(), 0) == Place("worker-cpu-0-2", 8002, 1)


def test_says_so_when_no_port_is_left() -> None:
    full = Roster(frozenset(), lambda _port: False)
    assert code(full.place(ONE, spec(), 0)) is Code.NO_CAPACITY


def test_a_repeated_order_finds_its_worker() -> None:
    known = charge(1)
    assert roster(known).settle(ONE, 1, spec()) is known


def test_an_older_generation_is_refused() -> None:
    assert code(roster(charge(1, generation=5)).settle(ONE, 4, spec())) is Code.STALE_GENERATION


def test_a_newer_generation_of_the_same_orders_is_the_same_worker() -> None:
    known = charge(1)
    assert roster(known).settle(ONE, 2, spec()) is known
    assert known.record.generation == 2


def test_other_orders_for_a_running_worker_are_a_conflict() -> None:
    assert code(roster(charge(1)).settle(ONE, 2, spec(ctx=512))) is Code.CONFLICT


def test_a_failed_worker_starts_again_as_the_next_incarnation() -> None:
    failed = charge(1)
    failed.status = WorkerStatus.FAILED
    workers = roster(failed)
    assert workers.settle(ONE, 1, spec()) is failed
    assert workers.settle(ONE, 2, spec()) is None
    assert workers.place(ONE, spec(), 0) == Place("worker-cpu-0", 8002, 2)


@pytest.mark.parametrize("state", ["resting", "stopping"])
def test_an_ended_worker_that_somebody_still_cares_for_is_not_started_a_second_time(
    state: str,
) -> None:
    failed = charge(1)
    failed.status = WorkerStatus.FAILED
    if state == "resting":
        failed.resting = True
        assert roster(failed).settle(ONE, 2, spec()) is failed
    else:
        failed.stop_asked.set()
        assert code(roster(failed).settle(ONE, 2, spec())) is Code.CONFLICT


def test_a_worker_lets_go_only_of_its_own_place() -> None:
    old, new = charge(1), charge(1, generation=2)
    workers = roster(old, new)
    assert not workers.remove(old)
    assert workers.find(ONE) is new
    assert workers.remove(new)


def test_a_stopped_worker_is_not_started_by_a_late_order() -> None:
    known = charge(1)
    workers = roster(known)
    workers.remove(known)
    assert code(workers.settle(ONE, 1, spec())) is Code.STALE_GENERATION
    assert workers.settle(ONE, 2, spec()) is None
    assert workers.place(ONE, spec(), 0) == Place("worker-cpu-0", 8002, 2)
    assert workers.ended_generations() == {ONE: 1}


def test_only_the_newest_failures_are_kept() -> None:
    workers = roster(charge(500))
    for number in range(30):
        failed = charge(number)
        failed.status = WorkerStatus.FAILED
        workers.add(failed)
    assert len(list(workers)) == 31
    dropped = workers.drop_oldest_failures()
    assert [known.record.id for known in dropped] == [worker_id(number) for number in range(10)]
    kept = [known.record.id for known in workers]
    assert kept == [worker_id(500), *(worker_id(number) for number in range(10, 30))]


def test_a_worker_that_rests_before_its_next_start_is_not_dropped() -> None:
    resting = charge(400)
    resting.status, resting.resting = WorkerStatus.FAILED, True
    workers = roster(resting)
    for number in range(30):
        failed = charge(number)
        failed.status = WorkerStatus.FAILED
        workers.add(failed)
    workers.drop_oldest_failures()
    assert workers.find(worker_id(400)) is resting


def test_a_worker_starts_again_on_its_own_port_if_that_is_still_free() -> None:
    assert roster().free_port(rather=8500) == 8500
    assert roster(charge(500)).free_port(rather=8500) == 8002
    assert roster().free_port(rather=8001) == 8002


def test_only_living_workers_are_promised_memory() -> None:
    loading, failed = charge(1, needed_bytes={"cpu": 7}), charge(2, needed_bytes={"cpu": 9})
    failed.status = WorkerStatus.FAILED
    assert roster(loading, failed).promises() == [Promise({"cpu": 7}, loaded=False)]
    loading.status = WorkerStatus.READY
    assert roster(loading).promises() == [Promise({"cpu": 7}, loaded=True)]
    assert roster(loading).promises(besides=loading) == []
