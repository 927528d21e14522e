"""What a worker says of its slots, and which cut attempts that lets go."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratord.serving.attempts.slot_reading import Silence, let_go, read_slots
from orchestratord.upstream.exchange import Fault, FaultKind
from orchestratord.upstream.plain import Reply


def told(body: object, status: int = 200) -> Reply:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, {}, data)


def slot(*, busy: bool) -> dict[str, object]:
    return {"id": 0, "n_ctx": 1024, "is_processing": busy}


def test_slots_that_compute_are_counted() -> None:
    assert read_slots(told([slot(busy=True), slot(busy=False), slot(busy=True)])) == 2
    assert read_slots(told([slot(busy=False)])) == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", {}, [], None, "busy", 7, b"\xff", b"[1, 2", {"slots": []}]
)
def test_what_is_no_list_of_slots_says_nothing(body: object) -> None:
    assert read_slots(told(body)) is Silence.UNCLEAR


@pytest.mark.parametrize("odd", [{}, {"is_processing": 1}, {"is_processing": "yes"}, 7, None])
def test_only_a_plain_yes_counts(odd: object) -> None:
    assert read_slots(told([odd, slot(busy=True)])) == 1


@pytest.mark.parametrize(
    ("status", "silence"),
    [
        (404, Silence.MUTE),
        (405, Silence.MUTE),
        (501, Silence.MUTE),
        (401, Silence.UNCLEAR),
        (503, Silence.UNCLEAR),
        (204, Silence.UNCLEAR),
    ],
)
def test_a_refusal_is_no_number(status: int, silence: Silence) -> None:
    assert read_slots(told([slot(busy=True)], status)) is silence


@pytest.mark.parametrize(
    ("kind", "silence"),
    [
        (FaultKind.CONNECT, Silence.GONE),
        (FaultKind.RESET, Silence.GONE),
        (FaultKind.EOF, Silence.GONE),
        (FaultKind.TIMEOUT, Silence.UNCLEAR),
        (FaultKind.PROTOCOL, Silence.UNCLEAR),
        (FaultKind.ABORTED, Silence.UNCLEAR),
        (FaultKind.ROAD, Silence.AWAY),
        (FaultKind.LOST, Silence.AWAY),
    ],
)
def test_a_process_that_is_gone_holds_no_slot_and_a_slow_one_may(
    kind: FaultKind, silence: Silence
) -> None:
    assert read_slots(Fault(kind, "")) is silence


@pytest.mark.parametrize(
    ("cuts", "busy", "held", "over"),
    [
        ([1], 0, 0, [0]),
        ([1], 1, 0, []),
        ([1], 1, 1, [0]),
        ([1, 1], 2, 1, [0]),
        ([1, 1], 3, 1, []),
        ([1, 1], 0, 3, [0, 1]),
        ([2], 1, 0, []),
        ([2, 1], 1, 0, [0]),
        ([4, 1], 4, 0, [1]),
        ([], 3, 0, []),
    ],
)
def test_what_computes_beyond_the_attempts_that_go_on_was_cut(
    cuts: list[int], busy: int, held: int, over: list[int]
) -> None:
    assert list(let_go(cuts, busy=busy, held=held)) == over


@given(
    st.lists(st.integers(1, 8), max_size=12),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_no_slot_is_given_out_while_something_may_compute_on_it(
    cuts: list[int], busy: int, held: int
) -> None:
    over = list(let_go(cuts, busy=busy, held=held))
    freed = sum(cuts[place] for place in over)
    assert len(set(over)) == len(over)
    # What is still counted as taken covers everything that computes and belongs to nobody.
    assert sum(cuts) - freed >= min(sum(cuts), max(0, busy - held))
    if busy <= held:
        assert freed == sum(cuts)


def test_silence_of_another_host_may_be_that_of_the_way_there() -> None:
    assert read_slots(Fault(FaultKind.TIMEOUT, ""), far=True) is Silence.AWAY
    assert read_slots(Fault(FaultKind.CONNECT, ""), far=True) is Silence.GONE
