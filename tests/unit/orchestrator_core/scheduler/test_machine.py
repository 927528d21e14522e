"""The dispatch table, the queries, the self-checks and the page of charts."""

from pathlib import Path
from typing import get_args

import pytest

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.ids import PREFIX_WORKER, PoolId, is_id, timestamp_ms
from orchestrator_core.jobs.states import InvalidTransition
from orchestrator_core.scheduler.endings import switch
from orchestrator_core.scheduler.events import Event
from orchestrator_core.scheduler.invariants import InvariantBroken, check
from orchestrator_core.scheduler.machine import HANDLERS, Machine
from orchestrator_core.testing.charts import render_page
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, pool_registered
from orchestrator_core.testing.reports import worker_spec
from support.machine_script import MachineScript, ready

ROOT = Path(__file__).parents[4]


def test_every_event_has_a_handler():
    assert set(HANDLERS) == set(get_args(Event))


def test_page_of_charts_is_what_the_tables_say():
    page = (ROOT / "docs" / "state-machines.md").read_text()
    assert page == render_page()


def test_worker_ids_carry_wall_time_and_differ_between_machines():
    made = [
        Machine(nonce=nonce, epoch_ms=1_700_000_000_000).state.make_worker_id(2.5)
        for nonce in (1, 2)
    ]
    assert all(is_id(PREFIX_WORKER, worker_id) for worker_id in made)
    assert timestamp_ms(made[0]) == 1_700_000_002_500
    assert made[0] != made[1]


def test_queue_depths_leave_out_empty_queues():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2, spec=worker_spec("tiny-story"))
    script.arrive(3, spec=worker_spec("tiny-story"))
    key = ServiceKey("tiny-story", TaskKind.GENERATE)
    assert script.machine.queue_depths() == {key: 2}


def test_running_and_unknown_jobs_have_no_position():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert script.machine.position(job_id(1)) is None
    assert script.machine.position(job_id(2)) is None


def test_unknown_things_are_none():
    machine = Machine(nonce=1)
    assert machine.pool(PoolId("home")) is None
    assert machine.worker_of(job_id(1)) is None
    assert machine.wanted(PoolId("home")).workers == []
    assert machine.pools() == []


def test_page_of_the_pool_shows_its_endpoint():
    machine = Machine(nonce=1)
    machine.handle(pool_registered())
    (pool,) = machine.pools()
    assert (pool.pool_id, pool.endpoint, pool.version) == ("home", "", "")


def test_self_check_tells_what_broke():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.machine.state.workers["wrk_a"].slots.used = 0
    with pytest.raises(InvariantBroken, match="wrk_a counts 0 slots"):
        check(script.machine.state)


def test_invalid_move_tells_the_story_of_the_job():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    job = script.machine.state.jobs[job_id(1)]
    with pytest.raises(InvalidTransition, match="attempt 1 goes to worker wrk_a"):
        switch(job, job.status)


def test_fake_clock_moves_both_times():
    clock = FakeClock(unix_ms=1000, monotonic_s=5.0)
    clock.advance(1.5)
    assert (clock.unix_ms(), clock.monotonic_s()) == (2500, 6.5)
