"""Keys by rank."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.scheduler.heaps import KeyedHeap


def test_smallest_rank_comes_first_and_ties_go_to_the_smaller_key():
    heap = KeyedHeap[str]()
    for key, rank in (("c", 1), ("b", 2), ("a", 2)):
        heap.set(key, rank)
    assert heap.smallest(2) == ["c", "a"]
    assert heap.top_rank() == 1
    assert len(heap) == 3


def test_discarded_key_never_shows():
    heap = KeyedHeap[str]()
    heap.set("a", 1)
    heap.discard("a")
    heap.discard("a")
    assert heap.top_rank() is None
    assert heap.smallest(3) == []


def test_key_set_back_to_an_earlier_rank_shows_once():
    heap = KeyedHeap[str]()
    for rank in (1, 2, 1):
        heap.set("a", rank)
    assert heap.smallest(5) == ["a"]
    assert heap.pop_until(9, 5) == ["a"]
    assert heap.pop_until(9, 5) == []


def test_garbage_stays_in_proportion_to_the_living():
    heap = KeyedHeap[str]()
    for rank in range(10_000):
        heap.set("a", rank)
    assert len(heap._entries) <= 2 + 64
    assert heap.top_rank() == 9999


def test_pops_no_more_than_the_limit():
    heap = KeyedHeap[str]()
    for rank, key in enumerate("abcd"):
        heap.set(key, rank)
    assert heap.pop_until(2, 2) == ["a", "b"]
    assert heap.pop_until(2, 2) == ["c"]
    assert "d" in heap


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 5))))
def test_behaves_like_a_sorted_mapping(steps: list[tuple[str, int]]):
    heap, model = KeyedHeap[str](), {}
    for key, rank in steps:
        if rank < 0:
            heap.discard(key)
            model.pop(key, None)
        else:
            heap.set(key, rank)
            model[key] = rank
        order = sorted(model, key=lambda name: (model[name], name))
        assert heap.smallest(10) == order
        assert heap.top_rank() == (model[order[0]] if order else None)
        assert [heap.rank(name) for name in order] == [model[name] for name in order]
