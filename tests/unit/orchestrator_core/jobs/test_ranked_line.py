"""A line in pieces behaves like one sorted list."""

from bisect import bisect_left, insort

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.jobs.ranked_line import RankedLine, Ticket

START = st.integers(0, 3000)


def ticket(start: int) -> Ticket:
    return Ticket(False, float(start), 0.0, JobId(str(start)), KeyId("key"), start + 1.0)


def line_of(count: int) -> RankedLine:
    line = RankedLine()
    for start in range(0, 2 * count, 2):
        line.add(ticket(start))
    return line


@given(
    st.integers(0, 1500),
    st.lists(st.tuples(st.sampled_from(("add", "pop", "remove", "count")), START), max_size=60),
)
def test_line_agrees_with_a_sorted_list(count: int, steps: list[tuple[str, int]]):
    line, model = line_of(count), [ticket(start) for start in range(0, 2 * count, 2)]
    for act, start in steps:
        one = ticket(start)
        if act == "add" and one not in model:
            line.add(one)
            insort(model, one)
        elif act == "pop" and model:
            assert line.pop() == model.pop(0)
        elif act == "remove":
            assert line.remove(one) == (one in model)
            model = [it for it in model if it != one]
        assert line.count_before(one) == bisect_left(model, one)
        assert (one in line) == (one in model)
        assert line.first == (model[0] if model else None)
    assert list(line) == model
    assert len(line) == len(model)


def test_piece_that_grows_in_the_middle_is_split():
    line = line_of(600)
    for start in range(1, 1100, 2):
        line.add(ticket(start))
    assert [int(it.start) for it in line] == [*range(1100), *range(1100, 1200, 2)]
