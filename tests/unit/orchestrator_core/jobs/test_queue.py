"""First come, first served, with cheap ends and bounded garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.ids import JobId
from orchestrator_core.jobs.queue import FifoQueue


def filled(*entries: tuple[str, float]) -> FifoQueue:
    queue = FifoQueue()
    for name, queued_at in entries:
        queue.enqueue(JobId(name), queued_at)
    return queue


def drained(queue: FifoQueue) -> list[str]:
    return [job_id for _ in range(len(queue)) if (job_id := queue.dequeue()) is not None]


def test_serves_in_order_of_arrival_then_id():
    assert drained(filled(("b", 1.0), ("a", 1.0), ("c", 0.5))) == ["c", "a", "b"]


def test_empty_queue_has_no_head():
    queue = FifoQueue()
    assert queue.peek() is None
    assert queue.head_key() is None
    assert queue.dequeue() is None


def test_job_that_comes_back_gets_its_old_place():
    queue = filled(("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert queue.dequeue() == "a"
    assert queue.dequeue() == "b"
    queue.enqueue(JobId("a"), 1.0)
    queue.enqueue(JobId("b"), 2.0)
    assert queue.peek() == "a"
    assert drained(queue) == ["a", "b", "c"]


def test_removed_job_is_not_served():
    queue = filled(("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert queue.remove(JobId("a"))
    assert queue.remove(JobId("b"))
    assert not queue.remove(JobId("b"))
    assert len(queue) == 1
    assert queue.head_key() == (3.0, "c")


def test_job_can_be_removed_and_put_back():
    queue = filled(("a", 1.0), ("b", 2.0))
    queue.remove(JobId("b"))
    queue.enqueue(JobId("b"), 2.0)
    assert drained(queue) == ["a", "b"]


def test_job_cannot_wait_twice():
    with pytest.raises(ValueError, match="a is queued already"):
        filled(("a", 1.0), ("a", 2.0))


def test_counts_the_jobs_before_a_key():
    queue = filled(("b", 2.0), ("c", 3.0), ("a", 1.0))
    assert [queue.count_before(at, JobId(n)) for n, at in (("a", 1), ("b", 2), ("c", 3))] == [
        0,
        1,
        2,
    ]
    assert queue.count_before(9.0, JobId("other")) == 3


def test_garbage_stays_in_proportion_to_the_living():
    queue = filled(*((f"{number:05}", float(number)) for number in range(10_000)))
    for number in range(1, 9_900):
        queue.remove(JobId(f"{number:05}"))
    assert len(queue) == 101
    assert len(queue._line) <= 2 * 101 + 64


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("in", "in", "out", "remove")), st.integers(0, 20), st.integers(0, 5)
        )
    )
)
def test_behaves_like_a_sorted_list(steps: list[tuple[str, int, int]]):
    queue, model = FifoQueue(), {}
    for act, number, queued_at in steps:
        name = JobId(f"{number:02}")
        if act == "in" and name not in model:
            model[name] = float(queued_at)
            queue.enqueue(name, float(queued_at))
        elif act == "remove":
            assert queue.remove(name) == (model.pop(name, None) is not None)
        elif act == "out":
            expected = min(model, key=lambda key: (model[key], key), default=None)
            assert queue.peek() == expected
            assert queue.dequeue() == expected
            model.pop(expected, None)
        order = sorted(model, key=lambda key: (model[key], key))
        assert queue.positions() == order
        assert [queue.count_before(model[key], key) for key in order] == list(range(len(order)))
        assert [key in queue for key in order] == [True] * len(queue)
