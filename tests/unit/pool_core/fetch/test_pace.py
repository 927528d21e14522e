import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_core.fetch.pace import Pace, Tries

PACE = Pace()


def rests(count: int, *, dice: float = 0.5) -> list[float | None]:
    tries, found = Tries(), []
    for _ in range(count):
        tries = tries.failed(progressed=False)
        found.append(PACE.rest_s(tries, dice=dice))
    return found


def test_rests_double_to_the_longest_and_then_we_give_up() -> None:
    assert rests(9) == [1, 2, 4, 8, 16, 30, 30, 30, None]


def test_a_byte_that_came_makes_good_for_the_failures_before() -> None:
    tries = Tries(idle=8, total=20).failed(progressed=True)
    assert PACE.rest_s(tries, dice=0.5) == 1


def test_even_with_bytes_there_is_an_end() -> None:
    assert PACE.rest_s(Tries(idle=1, total=1001), dice=0.5) is None


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 0.8), (1.0, 1.2)])
def test_hosts_that_fell_together_do_not_come_back_together(dice: float, expected: float) -> None:
    assert rests(1, dice=dice) == [pytest.approx(expected)]


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 60), (1.0, 72)])
def test_a_server_s_own_time_is_never_cut_short(dice: float, expected: float) -> None:
    assert PACE.rest_s(Tries(1, 1), dice=dice, asked_s=60) == pytest.approx(expected)


def test_a_server_that_asks_for_too_much_is_not_waited_for() -> None:
    assert PACE.rest_s(Tries(1, 1), dice=0, asked_s=301) is None


@given(st.lists(st.booleans(), max_size=1100), st.floats(0, 1))
def test_no_rest_is_longer_than_half_a_minute_and_some(progress: list[bool], dice: float) -> None:
    tries = Tries()
    for progressed in progress:
        tries = tries.failed(progressed=progressed)
        rest = PACE.rest_s(tries, dice=dice)
        assert rest is None or 0 < rest <= 36
