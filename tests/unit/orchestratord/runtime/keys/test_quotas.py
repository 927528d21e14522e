"""Limits of a key: how often per minute, how many jobs at one time, and when there is room again."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.runtime.keys.quotas import Quotas
from orchestratord.runtime.keys.token_buckets import TokenBuckets


def holder(
    *, per_minute: int | None = None, at_once: int | None = None, name: str = "key_1"
) -> Principal:
    return Principal(
        KeyId(name),
        "me",
        frozenset({"user"}),
        requests_per_minute=per_minute,
        concurrent_jobs=at_once,
    )


def test_a_key_without_limits_is_let_in_and_costs_nothing() -> None:
    quotas = Quotas()
    assert all(quotas.admit(holder(), now=0.0, live_jobs=count) is None for count in range(5000))
    assert len(quotas) == 0


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    quotas, me = Quotas(), holder(per_minute=6)
    assert all(quotas.admit(me, now=5.0, live_jobs=0) is None for _ in range(6))
    refusal = quotas.admit(me, now=5.0, live_jobs=0)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.retry_after_s) == (Code.RATE, 10)
    assert "6 times a minute" in refusal.message
    assert quotas.admit(me, now=14.9, live_jobs=0) is not None
    assert quotas.admit(me, now=15.0, live_jobs=0) is None
    assert quotas.admit(me, now=15.0, live_jobs=0) is not None


def test_too_many_jobs_at_one_time_name_the_limit_and_take_no_turn() -> None:
    quotas, me = Quotas(), holder(per_minute=1, at_once=2)
    refusal = quotas.admit(me, now=0.0, live_jobs=2)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.details) == (Code.QUOTA, {"concurrent_jobs": 2})
    assert "2 jobs at one time" in refusal.message
    assert quotas.admit(me, now=0.0, live_jobs=1) is None


def test_a_key_that_was_revoked_is_forgotten() -> None:
    quotas, me = Quotas(), holder(per_minute=1)
    assert quotas.admit(me, now=0.0, live_jobs=0) is None
    quotas.forget(me.key_id)
    assert len(quotas) == 0


def test_keys_do_not_use_up_each_others_turns() -> None:
    quotas = Quotas()
    for name in ("key_1", "key_2"):
        assert quotas.admit(holder(per_minute=1, name=name), now=0.0, live_jobs=0) is None


@given(
    per_minute=st.integers(1, 1000),
    gaps=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200),
)
def test_no_minute_lets_more_in_than_the_bucket_and_one_refill(
    per_minute: int, gaps: list[float]
) -> None:
    quotas, me = Quotas(), holder(per_minute=per_minute)
    now, taken = 0.0, list[float]()
    for gap in gaps:
        now += gap
        if quotas.admit(me, now=now, live_jobs=0) is None:
            taken.append(now)
    for start in taken:
        inside = sum(start <= at <= start + 60 for at in taken)
        assert inside <= 2 * per_minute + 1


@given(per_minute=st.integers(1, 1000), extra=st.floats(0, 60, allow_nan=False))
def test_who_waits_as_long_as_told_is_let_in(per_minute: int, extra: float) -> None:
    quotas, me = Quotas(), holder(per_minute=per_minute)
    now = 1000.0
    refusal = None
    while refusal is None:
        refusal = quotas.admit(me, now=now, live_jobs=0)
    assert refusal.retry_after_s is not None
    assert quotas.admit(me, now=now + refusal.retry_after_s + extra, live_jobs=0) is None


def test_buckets_are_bounded_and_the_one_that_was_idle_longest_goes_first() -> None:
    buckets = TokenBuckets(3)
    for who in ("a", "b", "c", "a"):
        assert buckets.take(who, 2, 0.0) == 0.0
    assert buckets.take("d", 2, 1.0) == 0.0
    assert len(buckets) == 3
    assert buckets.take("a", 2, 1.0) > 0.0
    for number in range(100):
        buckets.take(str(number), 1, 1.0)
    assert len(buckets) == 3


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    buckets = TokenBuckets(3)
    assert buckets.take("a", 1, 100.0) == 0.0
    assert buckets.take("a", 1, 50.0) == 60.0
    assert buckets.take("a", 1, 50.0) == 60.0
