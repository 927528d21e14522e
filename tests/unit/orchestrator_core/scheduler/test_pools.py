"""Sessions, beats, silence and adoption."""

import pytest

from orchestrator_core.contracts.pool import Owner, PoolState, WantedSet, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.testing.facts import job_id, session_id
from orchestrator_core.testing.reports import model_file, model_report, worker_spec
from support.machine_script import MachineScript, dispatched, ready, started

HOME = PoolId("home")
S = WorkerStatus


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def status_of(script: MachineScript) -> PoolState:
    pool = script.machine.pool(HOME)
    assert pool is not None
    return pool.status


def test_registration_opens_a_session(script: MachineScript):
    assert script.machine.session_of(HOME) is None
    script.register()
    assert script.machine.session_of(HOME) == session_id(1)
    assert script.machine.wanted(HOME) == WantedSet(revision=0, workers=[])


def test_newer_session_fences_the_older(script: MachineScript):
    script.register(session=1)
    script.register(session=2)
    refusal = script.machine.beat_refusal(HOME, session_id(1))
    assert refusal is not None
    assert refusal.code is Code.STALE_SESSION
    assert script.machine.beat_refusal(HOME, session_id(2)) is None
    assert script.beat(session=1) == []
    assert script.machine.late_facts == 1


def test_unknown_pool_must_register(script: MachineScript):
    refusal = script.machine.beat_refusal(HOME, session_id(1))
    assert refusal is not None
    assert refusal.message == "pool home is not registered; register again"
    assert script.beat() == []
    assert script.machine.late_facts == 1


@pytest.mark.parametrize("status", [S.STARTING, S.LOADING, S.READY, S.BUSY, S.DRAINING])
def test_restart_of_the_orchestrator_stops_no_worker(script: MachineScript, status: S):
    report = ready("wrk_a", status=status, generation=3)
    assert script.register("home", report) == []
    (wanted,) = script.machine.wanted(HOME).workers
    assert (wanted.worker_id, wanted.generation, wanted.spec) == ("wrk_a", 3, report.spec)
    assert script.machine.wanted(HOME).revision == 0


@pytest.mark.parametrize("status", [S.STOPPED, S.FAILED, S.PARKED, S.UNCLAIMED])
def test_dead_worker_is_not_adopted(script: MachineScript, status: S):
    script.register("home", ready("wrk_a", status=status))
    assert script.wanted_ids() == []
    assert [worker.status for worker in script.machine.workers()] == [status]


def test_adopted_worker_serves_the_queue(script: MachineScript):
    script.arrive(1)
    script.arrive(2)
    assert script.register("home", ready("wrk_a")) == dispatched(1, "wrk_a")


def test_restored_jobs_wait_for_a_worker_that_is_still_loading(script: MachineScript):
    script.restore(1)
    assert script.register("home", ready("wrk_a", status=S.LOADING)) == []
    assert script.beat("home", ready("wrk_a")) == dispatched(1, "wrk_a")


def test_person_s_worker_is_used_but_not_wanted(script: MachineScript):
    script.arrive(1)
    answer = script.register("home", ready("wrk_a", owner=Owner.OPERATOR))
    assert answer == dispatched(1, "wrk_a")
    assert script.wanted_ids() == []


def test_person_s_worker_may_appear_with_a_beat(script: MachineScript):
    script.register()
    assert script.beat("home", ready("wrk_a", owner=Owner.OPERATOR)) == []
    assert script.arrive(1) == dispatched(1, "wrk_a")


def test_worker_of_ours_that_is_not_wanted_gets_no_work(script: MachineScript):
    script.register()
    script.beat("home", ready("wrk_a"))
    order = started(script.arrive(1))
    assert order.worker_id != "wrk_a"
    assert script.wanted_ids() == [order.worker_id]


def test_a_model_that_a_pool_has_fetched_meanwhile_starts_the_worker_that_waits_for_it(
    script: MachineScript,
):
    big = worker_spec(model=model_file("big", source="hub"))
    script.register(models=())
    assert script.arrive(1, spec=big) == []
    assert script.beat(models=None) == []
    order = started(script.beat(models=(model_report("big"),)))
    assert order.spec.model.model_id == "big"
    assert set(script.machine.held_models) == {"big"}
    assert script.beat(models=None) == []
    assert set(script.machine.held_models) == {"big"}


def test_models_are_known_by_what_every_pool_said_last(script: MachineScript):
    script.register("attic", models=(model_report("a"), model_report("b")))
    script.register("barn", models=(model_report("b", size_bytes=7), model_report("c")))
    assert set(script.machine.held_models) == {"a", "b", "c"}
    script.beat("attic", models=(model_report("a"),))
    assert set(script.machine.held_models) == {"a", "b", "c"}
    script.beat("barn", models=())
    assert set(script.machine.held_models) == {"a"}


def test_silent_pool_becomes_suspect_and_gets_no_new_work(script: MachineScript):
    script.register("home", ready("wrk_a"))
    assert script.machine.next_alarm_at == 115.0
    assert script.tick() == []
    assert status_of(script) is PoolState.SUSPECT
    assert script.arrive(1) == []


def test_attempts_on_a_suspect_pool_go_on(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    script.tick()
    assert [type(command).__name__ for command in script.end(1)] == [
        "PersistRunning",
        "Finish",
    ]


def test_beat_clears_a_suspicion(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.tick()
    script.arrive(1)
    script.at += 1
    assert script.beat("home", ready("wrk_a")) == dispatched(1, "wrk_a")
    assert script.machine.next_alarm_at == script.at + 15


def test_pool_out_of_suspicion_may_be_the_home_of_a_new_worker(script: MachineScript):
    script.register()
    script.tick()
    assert script.arrive(1) == []
    script.at += 1
    assert started(script.beat()).pool_id == "home"


def test_lost_pool_is_forgotten_but_its_attempts_go_on(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.tick(115.0)
    assert script.machine.next_alarm_at == 145.0
    assert script.tick() == []
    assert status_of(script) is PoolState.LOST
    assert script.machine.workers() == []
    assert script.machine.session_of(HOME) is None
    assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED
    assert [type(command).__name__ for command in script.end(1)] == [
        "PersistRunning",
        "Finish",
    ]


def test_returning_pool_gets_no_slot_that_is_still_held(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.tick(500.0)
    assert script.register("home", ready("wrk_a"), session=2) == []
    assert script.arrive(2) == []
    assert script.end(1)[2:] == dispatched(2, "wrk_a")


def test_beat_of_a_lost_pool_is_refused(script: MachineScript):
    script.register()
    script.tick(500.0)
    assert script.machine.beat_refusal(HOME, session_id(1)) is not None
    assert script.beat() == []
    assert status_of(script) is PoolState.LOST


def test_worker_that_was_lost_with_its_pool_is_replaced_elsewhere(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    script.at = 110.0
    script.register("barn")
    script.tick(140.0)
    script.beat("barn")
    assert started(script.tick(145.0)).pool_id == "barn"


def test_draining_worker_gets_no_new_work(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2))
    script.arrive(1)
    script.beat("home", ready("wrk_a", slots=2, status=S.DRAINING))
    assert started(script.arrive(2)).worker_id != "wrk_a"


def test_worker_that_stops_leaves_the_wanted_set_but_not_its_attempts(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert script.beat("home", ready("wrk_a", status=S.FAILED)) == []
    assert script.wanted_ids() == []
    assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED


def test_worker_that_vanishes_is_forgotten(script: MachineScript):
    script.register("home", ready("wrk_a"))
    assert script.beat("home") == []
    assert script.wanted_ids() == []
    assert script.machine.worker(WorkerId("wrk_a")) is None


def test_waiting_job_gets_a_new_worker_when_the_old_one_stops(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    assert started(script.beat("home")).pool_id == "home"


def test_report_of_another_pool_s_worker_is_ignored(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_a"))
    worker = script.machine.worker(WorkerId("wrk_a"))
    assert worker is not None
    assert worker.pool_id == "home"
    assert script.machine.late_facts == 1


def test_contradicting_report_is_counted(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.beat("home", ready("wrk_a", status=S.STARTING))
    assert script.machine.late_facts == 1
    assert script.arrive(1) == dispatched(1, "wrk_a")


def test_same_session_registering_again_keeps_orders_and_revision(script: MachineScript):
    script.register()
    order = started(script.arrive(1))
    assert script.register() == []
    assert script.wanted_ids() == [order.worker_id]
    assert script.machine.wanted(HOME).revision > order.revision


def test_new_session_counts_revisions_from_zero(script: MachineScript):
    script.register()
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id))
    script.register("home", ready(order.worker_id), session=2)
    assert script.machine.wanted(HOME).revision == 0
    assert script.wanted_ids() == [order.worker_id]


def test_views_show_slots_as_they_are_counted_here(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2, slots_busy=2))
    script.arrive(1)
    (pool,) = script.machine.pools()
    (worker,) = pool.workers
    assert (worker.slots_total, worker.slots_used, worker.takes_work) == (2, 1, True)
    assert worker.report is not None
    assert worker.report.url == "http://127.0.0.1:8001"
    assert script.machine.worker(WorkerId("wrk_a")) == worker
