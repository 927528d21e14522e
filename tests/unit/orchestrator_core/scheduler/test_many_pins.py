"""Lanes of pools that never come: as many as there are jobs, and nobody pays for them."""

import pytest

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.placement import filters
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report
from support.machine_script import MachineScript, dispatched, ready, started

PINS = 200


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pools that were asked whether they can be a home."""
    asked: list[str] = []
    online = filters.HOME_FILTERS[0]

    def note(pool: PoolRecord, need: filters.HomeNeed) -> str | None:
        asked.append(pool.pool_id)
        return online(pool, need)

    monkeypatch.setattr(filters, "HOME_FILTERS", (note, *filters.HOME_FILTERS[1:]))
    return asked


def test_jobs_for_pools_that_never_came_are_looked_at_by_nobody(looked_at: list[str]):
    # The self-checks look at everything.
    script = MachineScript(validate=False)
    script.register("home")
    for number in range(PINS):
        script.arrive(number + 1, pin=f"pool-{number}")
    for number in range(PINS):
        script.cancel(number + 1)
    assert looked_at == []


def test_next_job_without_a_worker_asks_no_pool_again(looked_at: list[str]):
    script = MachineScript(validate=False)
    script.register("home", devices=())
    for number in range(PINS):
        script.arrive(number + 1)
    assert looked_at == ["home"]


def test_place_of_a_job_counts_those_only_that_may_take_its_workers():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2, pin="barn")
    script.arrive(3, pin="home")
    script.arrive(4)
    assert script.machine.position(job_id(4)) == 2
    assert script.machine.position(job_id(2)) == 1


def test_pin_that_is_stuck_leaves_the_others_their_order():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.register("barn")
    script.arrive(1, pin="nowhere")
    script.arrive(2)
    script.arrive(3, pin="home")
    script.arrive(4)
    assert script.end(2)[2:] == dispatched(3, "wrk_a")
    assert script.end(3)[2:] == dispatched(4, "wrk_a")


def test_pool_on_which_starts_fail_does_not_keep_another_from_its_first_try():
    script = MachineScript()
    script.register("attic")
    script.register("barn")
    order = started(script.arrive(1, pin="attic"))
    script.arrive(2, pin="barn")
    script.beat("attic", worker_report(order.worker_id, status=WorkerStatus.FAILED))
    assert started(script.tick()).pool_id == "barn"


def test_jobs_of_all_lanes_fail_with_a_service_that_is_given_up():
    script = MachineScript(MachineLimits(settle_batch=3))
    script.register("home")
    order = started(script.arrive(1))
    for number in range(2, 12):
        script.arrive(number, pin=f"pool-{number}")
    report = worker_report(
        order.worker_id, status=WorkerStatus.FAILED, error_code=Code.MODEL_INCOMPATIBLE
    )
    ended = script.beat("home", report)
    assert len(ended) == 3
    while script.machine.waiting:
        ended += script.tick()
    assert {command.job_id for command in ended if isinstance(command, c.Finish)} == {
        job_id(number) for number in range(1, 12)
    }
