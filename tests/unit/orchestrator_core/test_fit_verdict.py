import pytest

from orchestrator_core.fit.estimate import Need
from orchestrator_core.fit.verdict import judge
from orchestrator_core.units import MIB

NEED = Need(700 * MIB, 200 * MIB, 60 * MIB, 40 * MIB)


def test_the_margin_must_be_free_too() -> None:
    assert judge(NEED, free_bytes=1100 * MIB).fits
    assert not judge(NEED, free_bytes=1100 * MIB - 1).fits
    assert judge(NEED, free_bytes=1000 * MIB, margin=0.0).fits


def test_what_fits_needs_no_reasons() -> None:
    verdict = judge(NEED, free_bytes=1100 * MIB)
    assert verdict.reasons == ()
    assert (verdict.needed_bytes, verdict.free_bytes) == (1100 * MIB, 1100 * MIB)


def test_what_does_not_fit_says_what_takes_how_much() -> None:
    verdict = judge(NEED, free_bytes=512 * MIB)
    assert verdict.reasons == (
        "it needs 1.07 GiB with a margin of 10%, but 512 MiB are free",
        "weights 700 MiB, cache 200 MiB, buffers 60 MiB, the engine itself 40 MiB",
    )


def test_a_state_is_named_where_there_is_one() -> None:
    need = Need(700 * MIB, 200 * MIB, 60 * MIB, 40 * MIB, state_bytes=50 * MIB)
    assert "cache 200 MiB, state 50 MiB, buffers" in judge(need, free_bytes=0).reasons[1]
    assert judge(need, free_bytes=0).needed_bytes == 1155 * MIB


def test_a_rough_estimate_says_so() -> None:
    rough = Need(700 * MIB, 200 * MIB, 60 * MIB, 40 * MIB, approximate=True)
    assert "rough" in judge(rough, free_bytes=0).reasons[-1]


@pytest.mark.parametrize("free_bytes", [0, -5])
def test_nothing_free_is_shown_as_nothing(free_bytes: int) -> None:
    assert "but 0 B are free" in judge(NEED, free_bytes=free_bytes).reasons[0]


def test_only_the_doubt_of_a_rough_estimate_may_speak_for_a_start() -> None:
    rough = Need(700 * MIB, 200 * MIB, 60 * MIB, 40 * MIB, approximate=True)
    verdict = judge(rough, free_bytes=1000 * MIB)
    assert (verdict.fits, verdict.may_fit) == (False, True)
    assert verdict.least_bytes == 935 * MIB
    assert verdict.reasons[-1] == "it is started all the same: 935 MiB are needed at least"
    assert not judge(rough, free_bytes=935 * MIB - 1).may_fit
    assert not judge(NEED, free_bytes=1000 * MIB).may_fit


def test_parts_that_were_not_read_are_named_as_the_doubt() -> None:
    split = Need(700 * MIB, 0, 0, 0, approximate=True, guessed_bytes=350 * MIB)
    reasons = judge(split, free_bytes=0).reasons
    assert reasons[-1] == "the estimate is rough: only the first part of the model was looked at"
