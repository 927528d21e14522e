import pytest

from orchestrator_core.errors import Code
from orchestrator_core.units import GIB, MIB
from pool_core.fetch.room import Reserve, judge_room


def lacking(size: int, missing: int, free: int) -> object:
    refusal = judge_room(
        "big.gguf", size_bytes=size, missing_bytes=missing, free_bytes=free, reserve=Reserve()
    )
    return refusal.details["lacking_bytes"] if refusal is not None else None


def test_a_gibibyte_stays_free_beside_a_small_file() -> None:
    assert lacking(MIB, MIB, GIB + MIB) is None
    assert lacking(MIB, MIB, GIB + MIB - 1) == 1


def test_two_hundredths_stay_free_beside_a_large_one() -> None:
    assert lacking(100 * GIB, 100 * GIB, 102 * GIB) is None
    assert lacking(100 * GIB, 100 * GIB, 101 * GIB) == GIB


def test_what_is_here_already_needs_no_room() -> None:
    assert lacking(40 * GIB, GIB, 2 * GIB) is None


def test_the_line_says_how_much_is_missing_and_what_helps() -> None:
    refusal = judge_room(
        "big.gguf", size_bytes=4 * GIB, missing_bytes=4 * GIB, free_bytes=GIB, reserve=Reserve()
    )
    assert refusal is not None
    assert refusal.code is Code.DISK_LOW
    assert refusal.message == (
        "big.gguf needs 4 GiB more and 1 GiB are free: make room for another 4 GiB, or add --make-room"
    )


@pytest.mark.parametrize("free", [0, 1])
def test_the_reserve_is_a_setting(free: int) -> None:
    nothing = Reserve(min_bytes=0, share=0)
    refusal = judge_room("x", size_bytes=1, missing_bytes=1, free_bytes=free, reserve=nothing)
    assert (refusal is None) == (free == 1)
