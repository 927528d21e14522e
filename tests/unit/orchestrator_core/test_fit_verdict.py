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


def test_a_rough_estimate_says_so() -> None:
    rough = Need(700 * MIB, 200 * MIB, 60 * MIB, 40 * MIB, approximate=True)
    assert "rough" in judge(rough, free_bytes=0).reasons[-1]


@pytest.mark.parametrize("free_bytes", [0, -5])
def test_nothing_free_is_shown_as_nothing(free_bytes: int) -> None:
    assert "but 0 B are free" in judge(NEED, free_bytes=free_bytes).reasons[0]
