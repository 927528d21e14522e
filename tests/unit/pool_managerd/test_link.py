"""What a reply of the orchestrator means, and when the pool speaks next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code
from pool_managerd.runtime.link import LinkState, Pace, Step, Verdict, advance, judge

PACE = Pace()
MIDDLE = 0.5


def step(state: LinkState, verdict: Verdict, dice: float = MIDDLE) -> Step:
    return advance(state, verdict, interval_s=5.0, dice=dice, pace=PACE)


FRESH = LinkState()


def after(*verdicts: Verdict, start: LinkState = FRESH) -> Step:
    last = Step(start, 0)
    for verdict in verdicts:
        last = step(last.state, verdict)
    return last


REGISTERED = after(Verdict.ACCEPTED).state


def test_backs_off_1_2_4_up_to_30_seconds_while_nobody_answers() -> None:
    state, delays = LinkState(), []
    for _ in range(8):
        taken = step(state, Verdict.UNREACHABLE)
        state = taken.state
        delays.append(taken.delay_s)
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_stays_within_a_fifth() -> None:
    assert step(LinkState(), Verdict.UNREACHABLE, dice=0.0).delay_s == pytest.approx(0.8)
    assert step(LinkState(), Verdict.UNREACHABLE, dice=1.0).delay_s == pytest.approx(1.2)


def test_an_accepted_word_rests_one_interval_and_wakes_on_change() -> None:
    taken = step(LinkState(failures=4), Verdict.ACCEPTED)
    assert taken.delay_s == 5.0
    assert taken.wakes_on_change
    assert taken.state.registered
    assert taken.state.failures == 0


def test_a_lost_orchestrator_keeps_the_session_and_no_change_hurries_us() -> None:
    taken = step(REGISTERED, Verdict.UNREACHABLE)
    assert taken.state.registered
    assert not taken.wakes_on_change


def test_a_session_that_is_gone_is_opened_anew_at_once() -> None:
    taken = step(REGISTERED, Verdict.SESSION_GONE)
    assert taken.delay_s == 0
    assert not taken.state.registered


def test_two_pools_of_one_name_do_not_fence_each_other_in_a_hurry() -> None:
    state, delays = LinkState(), []
    for _ in range(6):
        state = step(state, Verdict.ACCEPTED).state
        taken = step(state, Verdict.SESSION_GONE)
        state = taken.state
        delays.append(taken.delay_s)
    assert delays == [0, 1, 2, 4, 8, 16]


def test_a_session_that_grew_old_is_forgiven() -> None:
    state = after(*[Verdict.ACCEPTED, Verdict.SESSION_GONE] * 3).state
    state = after(*[Verdict.ACCEPTED] * 4, start=state).state
    assert step(state, Verdict.SESSION_GONE).delay_s == 0


def test_a_registration_answered_with_a_stale_session_backs_off() -> None:
    assert step(LinkState(), Verdict.SESSION_GONE).delay_s == 1


def test_a_refused_key_is_tried_again_slowly_and_told_once() -> None:
    first = step(LinkState(), Verdict.KEY_REFUSED)
    assert first.delay_s == 30
    assert first.tell is Verdict.KEY_REFUSED
    assert step(first.state, Verdict.KEY_REFUSED).tell is None


def test_a_key_that_is_refused_during_a_session_is_read_again_soon() -> None:
    taken = step(REGISTERED, Verdict.KEY_REFUSED)
    assert not taken.state.registered
    assert taken.delay_s == 1


def test_a_key_file_that_is_not_there_yet_is_looked_for_soon() -> None:
    assert step(LinkState(), Verdict.KEY_MISSING).delay_s == 1


def test_a_recovery_is_told() -> None:
    assert after(Verdict.ACCEPTED, Verdict.UNREACHABLE, Verdict.ACCEPTED).tell is Verdict.ACCEPTED
    assert after(Verdict.ACCEPTED, Verdict.ACCEPTED).tell is None


def test_an_interval_from_outside_is_kept_sane() -> None:
    eager = advance(REGISTERED, Verdict.ACCEPTED, interval_s=0.0, dice=MIDDLE, pace=PACE)
    lazy = advance(REGISTERED, Verdict.ACCEPTED, interval_s=1e9, dice=MIDDLE, pace=PACE)
    assert 0 < eager.delay_s < lazy.delay_s <= 60


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (Code.STALE_SESSION, Verdict.SESSION_GONE),
        (Code.POOL_NOT_FOUND, Verdict.SESSION_GONE),
        (Code.NO_KEY, Verdict.KEY_REFUSED),
        (Code.BAD_KEY, Verdict.KEY_REFUSED),
        (Code.SCOPE, Verdict.KEY_REFUSED),
        (Code.UNREACHABLE, Verdict.UNREACHABLE),
        (Code.TIMEOUT, Verdict.UNREACHABLE),
        (Code.DRAINING, Verdict.UNREACHABLE),
        (Code.INTERNAL, Verdict.UNREACHABLE),
        (Code.INVALID_REQUEST, Verdict.REFUSED),
        (Code.NOT_FOUND, Verdict.REFUSED),
    ],
)
def test_each_code_has_a_meaning(code: Code, verdict: Verdict) -> None:
    assert judge(code) is verdict


@given(
    verdicts=st.lists(st.sampled_from(Verdict), max_size=200),
    dice=st.floats(min_value=0, max_value=1),
)
def test_no_history_of_replies_makes_a_hurry_or_a_standstill(
    verdicts: list[Verdict], dice: float
) -> None:
    state, in_a_row = LinkState(), 0
    for verdict in verdicts:
        taken = step(state, verdict, dice)
        state = taken.state
        in_a_row = in_a_row + 1 if taken.delay_s == 0 else 0
        assert in_a_row <= 1
        assert 0 <= taken.delay_s <= 60 * 1.2
        assert taken.wakes_on_change == (verdict is Verdict.ACCEPTED)
