import pytest

from pool_core.workers.restart import KEPT_ENDS, Again, End, Park, after_end

MINUTE_MS = 60_000


def end(minute: float, lived_s: float = 30.0, reason: str = "a memory fault") -> End:
    return End(at_unix_ms=int(minute * MINUTE_MS), lived_s=lived_s, reason=reason)


def rest_s(*ends: End, dice: float = 0.5) -> float:
    step = after_end(ends, dice=dice)
    assert isinstance(step, Again)
    return step.after_s


def test_the_first_end_is_followed_by_a_second_of_rest() -> None:
    assert rest_s(end(0)) == 1.0


def test_each_further_end_doubles_the_rest() -> None:
    assert rest_s(end(0), end(11)) == 2.0
    assert rest_s(end(0), end(11), end(22)) == 4.0


def test_the_rest_never_exceeds_five_minutes() -> None:
    assert rest_s(*(end(20 * n) for n in range(40))) == 300.0


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 0.8), (1.0, 1.2)])
def test_hosts_that_fell_together_do_not_rise_together(dice: float, expected: float) -> None:
    assert rest_s(end(0), dice=dice) == pytest.approx(expected)


def test_ten_healthy_minutes_make_good_for_all_that_was_before() -> None:
    assert rest_s(end(0), end(1), end(2), end(20, lived_s=600)) == 1.0


def test_five_ends_in_ten_minutes_park_a_worker() -> None:
    assert isinstance(after_end([end(2 * n) for n in range(4)], dice=0.5), Again)
    parked = after_end([end(2 * n) for n in range(5)], dice=0.5)
    assert parked == Park("it ended 5 times within 10 minutes")


def test_the_same_end_twice_right_after_the_start_parks_a_worker() -> None:
    parked = after_end([end(0, lived_s=0.3), end(0.1, lived_s=0.4)], dice=0.5)
    assert parked == Park("it ended within 2 s of its start twice in the same way")


def test_two_fast_ends_of_different_kinds_may_be_chance() -> None:
    fast = [end(0, lived_s=0.3), end(0.1, lived_s=0.4, reason="an abort")]
    assert isinstance(after_end(fast, dice=0.5), Again)


def test_what_the_host_refuses_is_tried_for_ever_at_growing_distances() -> None:
    refused = [
        End(at_unix_ms=n * 1000, lived_s=0.0, reason="no memory", refused=True) for n in range(40)
    ]
    assert rest_s(*refused[:2]) == 2.0
    assert rest_s(*refused[:KEPT_ENDS]) == 300.0
    assert rest_s(*refused) == 300.0


def test_a_refused_start_neither_hides_nor_makes_an_end() -> None:
    refused = End(at_unix_ms=0, lived_s=0.0, reason="a memory fault", refused=True)
    fast = end(0.1, lived_s=0.3)
    assert isinstance(after_end([refused, fast], dice=0.5), Again)
    assert isinstance(after_end([fast, refused, fast], dice=0.5), Park)


def test_says_what_it_decided() -> None:
    step = after_end([end(0), end(11)], dice=0.5)
    assert step.reason == "it comes back in 2 s (end 2 in a row)"
