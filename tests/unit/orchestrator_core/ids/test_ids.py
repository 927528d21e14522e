"""Ids are prefixed, sortable and drawn in the order of their making."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core import ids
from orchestrator_core.idgen import BitPool, IdSource

MOMENT = st.integers(0, 2**48 - 1)
DICE = st.integers(0, 2**74 - 1)


class FrozenClock:
    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def unix_ms(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_ms / 1000


@given(MOMENT, DICE)
def test_id_carries_its_time_and_is_a_version_7_uuid(unix_ms: int, dice: int) -> None:
    uuid = ids.compose_uuid7(unix_ms, dice)
    assert (uuid >> 76) & 0xF == 7
    assert (uuid >> 62) & 0b11 == 0b10
    text = ids.format_id(ids.PREFIX_JOB, uuid)
    assert ids.is_id(ids.PREFIX_JOB, text)
    assert ids.timestamp_ms(text) == unix_ms


@given(MOMENT, DICE, MOMENT, DICE)
def test_text_order_is_the_order_of_time(a_ms: int, a: int, b_ms: int, b: int) -> None:
    one, two = (
        ids.format_id("job", ids.compose_uuid7(ms, dice)) for ms, dice in ((a_ms, a), (b_ms, b))
    )
    if a_ms != b_ms:
        assert (one < two) == (a_ms < b_ms)


def test_texts_that_are_no_ids_are_told_apart() -> None:
    good = ids.format_id("job", ids.compose_uuid7(1, 1))
    assert ids.is_id("job", good)
    assert not ids.is_id("wrk", good)
    for bad in ("", "job_", good[:-1], good + "0", good.upper(), good.replace("0", "u", 1)):
        assert not ids.is_id("job", bad)
    assert not ids.is_id("job", "job_" + "8" + "0" * 25)


def test_ids_of_one_millisecond_sort_in_the_order_of_their_making() -> None:
    source = IdSource(FrozenClock())
    drawn = [source.job() for _ in range(2000)]
    assert drawn == sorted(set(drawn))


def test_clock_that_goes_back_does_not_break_the_order() -> None:
    clock = FrozenClock()
    source = IdSource(clock)
    drawn = []
    for step in (0, 5, -100, -50, 3):
        clock.now_ms += step
        drawn.append(source.worker())
    assert all(one < two for one, two in pairwise(drawn))


def test_seeded_source_repeats_itself() -> None:
    one, two = (IdSource.seeded(FrozenClock(), 7) for _ in range(2))
    assert [one.job(), one.key(), one.session()] == [two.job(), two.key(), two.session()]


def test_a_pool_hands_every_bit_out_once_and_as_many_as_asked() -> None:
    pool = BitPool()
    for count in (1, 16, 73, 4000, 73, 5000, 64):
        assert 0 <= pool(count) < 1 << count
    assert len({pool(64) for _ in range(1000)}) == 1000
