import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_core.catalog.store.accounts import Accounts, Holding
from pool_core.catalog.upkeep.eviction import FRESH_S, Candidate, plan_eviction

DAY_S = 86_400.0
HELD = [Holding("old", {"a": 100}), Holding("mid", {"b": 100}), Holding("new", {"c": 100})]
CANDIDATES = [
    Candidate("new", 2 * DAY_S),
    Candidate("old", 90 * DAY_S),
    Candidate("mid", 30 * DAY_S),
]


def test_who_was_used_longest_ago_goes_first_and_no_more_than_needed() -> None:
    plan = plan_eviction(CANDIDATES, Accounts(HELD), free_bytes=150)
    assert plan.victims == ("old", "mid")
    assert plan.freed_bytes == 200
    assert plan.kept == {"new": "150 B are free without it"}


def test_everything_unused_for_so_long_goes() -> None:
    plan = plan_eviction(CANDIDATES, Accounts(HELD), unused_s=30 * DAY_S)
    assert plan.victims == ("old", "mid")
    assert plan.kept == {"new": "it was used 2 d 0 h ago"}


def test_both_wishes_count_together() -> None:
    plan = plan_eviction(CANDIDATES, Accounts(HELD), unused_s=60 * DAY_S, free_bytes=300)
    assert plan.victims == ("old",)
    assert plan.freed_bytes == 100


def test_without_a_wish_nothing_goes() -> None:
    plan = plan_eviction(CANDIDATES, Accounts(HELD))
    assert plan.victims == ()
    assert set(plan.kept) == {"old", "mid", "new"}


def test_a_protected_model_never_goes() -> None:
    candidates = [Candidate("old", 90 * DAY_S, "worker cpu-1 uses it"), *CANDIDATES[2:]]
    plan = plan_eviction(candidates, Accounts(HELD), unused_s=0)
    assert plan.victims == ("mid",)
    assert plan.kept == {"old": "worker cpu-1 uses it"}


@pytest.mark.parametrize("unused_s", [0.0, FRESH_S - 1])
def test_a_model_used_within_the_hour_stays(unused_s: float) -> None:
    plan = plan_eviction([Candidate("old", unused_s)], Accounts(HELD), unused_s=0)
    assert plan.victims == ()
    assert "ago" in plan.kept["old"]


def test_a_clock_that_went_back_deletes_nothing() -> None:
    assert plan_eviction([Candidate("old", -5 * DAY_S)], Accounts(HELD), unused_s=0).victims == ()


def test_a_model_that_would_free_nothing_is_spared() -> None:
    accounts = Accounts(HELD, elsewhere={"a"})
    plan = plan_eviction(CANDIDATES, accounts, free_bytes=100)
    assert plan.victims == ("mid",)
    assert "frees nothing" in plan.kept["old"]


candidates = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(["old", "mid", "new"]),
        st.floats(-1e6, 1e9),
        st.none() | st.just("it is in use"),
    ),
    unique_by=lambda it: it.id,
)


@given(candidates, st.none() | st.floats(0, 1e9), st.none() | st.integers(0, 400))
def test_everyone_goes_or_stays_for_a_reason(
    them: list[Candidate], unused_s: float | None, free_bytes: int | None
) -> None:
    accounts = Accounts(HELD)
    plan = plan_eviction(them, accounts, unused_s=unused_s, free_bytes=free_bytes)
    assert sorted([*plan.victims, *plan.kept]) == sorted(it.id for it in them)
    by_id = {it.id: it for it in them}
    for victim in plan.victims:
        assert by_id[victim].protection is None
        assert by_id[victim].unused_s >= max(FRESH_S, unused_s or 0)
    assert plan.freed_bytes == accounts.freed_bytes(plan.victims)
    if free_bytes is not None and plan.victims:
        assert accounts.freed_bytes(plan.victims[:-1]) < free_bytes
