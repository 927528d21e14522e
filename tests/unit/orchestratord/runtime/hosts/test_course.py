"""When a link is tried again, and what a person sees of it meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.hosts.course import (
    Course,
    LinkState,
    LinkView,
    Pace,
    after_failure,
    after_refused_word,
    after_word,
    fresh_course,
)

PACE = Pace()
LOST = Refusal(Code.UNREACHABLE, "nothing answers at mac")


def test_a_link_begins_without_a_reason() -> None:
    assert fresh_course() == Course(LinkView(LinkState.CONNECTING, None), 0)


def test_failures_are_tried_again_more_and_more_slowly() -> None:
    course, delays = fresh_course(), list[float]()
    for _ in range(8):
        course, delay_s = after_failure(course, LOST, draw=0.999999, pace=PACE)
        delays.append(round(delay_s, 2))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert course.view == LinkView(LinkState.CONNECTING, "nothing answers at mac")


def test_a_host_that_stays_away_is_tried_more_and_more_rarely() -> None:
    asked = [after_failure(Course(fresh_course().view, failures), LOST, draw=0.999999, pace=PACE)[1]
             for failures in (29, 30, 40, 50, 60, 10**9)]  # fmt: skip
    assert [round(delay_s) for delay_s in asked] == [5, 5, 10, 20, 30, 30]


def test_a_refused_word_is_shown_and_is_no_failure_of_the_connection() -> None:
    course = after_refused_word(fresh_course(), Refusal(Code.VERSION_SKEW, "too old"))
    assert course == Course(LinkView(LinkState.NEEDS_ATTENTION, "too old"), 0)
    assert after_word(course).view == LinkView(LinkState.UP)


def test_a_word_of_the_pool_ends_a_row_of_failures() -> None:
    course, _ = after_failure(Course(fresh_course().view, 9), LOST, draw=0, pace=PACE)
    course = after_word(course)
    assert course == Course(LinkView(LinkState.UP, None), 0)
    assert after_failure(course, LOST, draw=0, pace=PACE)[1] == 0.1


@pytest.mark.parametrize(
    "code",
    [
        Code.HOST_KEY_UNKNOWN, Code.HOST_KEY_CHANGED, Code.HOST_REFUSED, Code.BAD_TOKEN,
        Code.BAD_KEY, Code.NO_KEY, Code.VERSION_SKEW, Code.INVALID_REQUEST,
    ],
)  # fmt: skip
def test_what_only_a_person_mends_is_told_and_tried_slowly(code: Code) -> None:
    course, delay_s = after_failure(fresh_course(), Refusal(code, "do this"), draw=0.5, pace=PACE)
    assert course.view == LinkView(LinkState.NEEDS_ATTENTION, "do this")
    assert delay_s == 60


@given(
    failures=st.integers(0, 10**9),
    draw=st.floats(0, 1, exclude_max=True),
    code=st.sampled_from(list(Code)),
)
def test_every_failure_is_followed_by_a_try_in_bounds(
    failures: int, draw: float, code: Code
) -> None:
    start = Course(fresh_course().view, failures)
    course, delay_s = after_failure(start, Refusal(code, "no"), draw=draw, pace=PACE)
    assert 0.1 <= delay_s <= 75
    assert course.failures == failures + 1
    assert course.view.reason == "no"
    assert course.view.state is not LinkState.UP
