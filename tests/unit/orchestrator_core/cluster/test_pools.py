"""Liveness by the receiver's clock, and the wanted set."""

import pytest

from orchestrator_core.cluster.pools import (
    MOVES,
    PoolRecord,
    judge_silence,
    next_judgement_at,
)
from orchestrator_core.contracts.pool import PoolState, WantedWorker
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.testing.facts import session_id
from orchestrator_core.testing.reports import worker_spec

LIMITS = {"suspect_after_s": 15.0, "lost_after_s": 45.0}


def test_table_names_every_state():
    assert set(MOVES) == set(PoolState)


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        (100.0, PoolState.ONLINE),
        (114.9, PoolState.ONLINE),
        (115.0, PoolState.SUSPECT),
        (144.9, PoolState.SUSPECT),
        (145.0, PoolState.LOST),
    ],
)
def test_silence_makes_a_pool_suspect_and_then_lost(at: float, verdict: PoolState):
    assert judge_silence(100.0, at, **LIMITS) is verdict
    silent = verdict is not PoolState.ONLINE
    drains = judge_silence(100.0, at, draining=True, **LIMITS)
    assert drains is (verdict if silent else PoolState.DRAINING)


def test_a_draining_pool_is_listened_for_like_any_other():
    assert next_judgement_at(PoolState.DRAINING, 100.0, **LIMITS) == 115.0


def test_only_suspicion_leads_to_loss():
    assert [state for state in MOVES if PoolState.LOST in MOVES[state]] == [PoolState.SUSPECT]


@pytest.mark.parametrize("last_seen_at", [0.1, 0.7, 1e6 / 3, 123456.789])
def test_verdict_changes_at_the_very_moment_of_the_alarm(last_seen_at: float):
    due = next_judgement_at(PoolState.ONLINE, last_seen_at, **LIMITS)
    assert due is not None
    assert judge_silence(last_seen_at, due, **LIMITS) is PoolState.SUSPECT
    due = next_judgement_at(PoolState.SUSPECT, last_seen_at, **LIMITS)
    assert due is not None
    assert judge_silence(last_seen_at, due, **LIMITS) is PoolState.LOST


def test_lost_pool_has_nothing_left_to_lose():
    assert next_judgement_at(PoolState.LOST, 100.0, **LIMITS) is None


def test_every_change_of_the_wanted_set_has_its_own_revision():
    pool = PoolRecord(pool_id=PoolId("home"), session_id=session_id(), last_seen_at=0.0)
    worker = WantedWorker(worker_id="wrk_a", generation=1, spec=worker_spec())
    assert pool.want(worker) == 1
    assert pool.wanted_set().workers == [worker]
    pool.unwant(WorkerId("wrk_a"))
    pool.unwant(WorkerId("wrk_a"))
    assert pool.wanted_set().revision == 2
    assert pool.wanted_set().workers == []
