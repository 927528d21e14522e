"""Which versions of the suite may work together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("0.1.0", "0.1.0"),
        ("0.1.0", "0.1.9"),
        ("0.1.0", "0.2.0"),
        ("0.2.0", "0.1.5"),
        ("1.4.0", "1.5.0rc1"),
        ("1.4.0", "1.3.0.dev3+local"),
        ("1.4", "1.5"),
        ("v1.4.0", "1.4.0"),
    ],
)
def test_one_minor_of_difference_is_taken(ours: str, theirs: str) -> None:
    assert skew_refusal(ours, theirs, "pool mac") is None


@pytest.mark.parametrize(
    ("ours", "theirs", "step"),
    [
        ("0.3.0", "0.1.0", "upgrade pool mac"),
        ("1.0.0", "0.9.0", "upgrade pool mac"),
        ("0.1.0", "0.3.0", "upgrade this orchestrator or put 0.1.0 on pool mac"),
        ("0.1.0", "1.1.0", "upgrade this orchestrator or put 0.1.0 on pool mac"),
    ],
)
def test_more_is_refused_by_name_with_the_next_step(ours: str, theirs: str, step: str) -> None:
    refusal = skew_refusal(ours, theirs, "pool mac")
    assert refusal is not None
    assert refusal.code is Code.VERSION_SKEW
    assert f"pool mac runs {theirs}, this orchestrator {ours}: {step}" in refusal.message
    assert refusal.details == {"ours": ours, "theirs": theirs}


@pytest.mark.parametrize(
    "text", ["", "x", "1", "-1.0", "1.0\n", "1.0 ", "\u0660.\u0661", "1." + "9" * 40]
)
def test_what_is_no_version_is_refused_in_one_line(text: str) -> None:
    refusal = skew_refusal("0.1.0", text, "pool mac")
    assert refusal is not None
    assert refusal.code is Code.VERSION_SKEW
    assert "\n" not in refusal.message
    assert len(refusal.message) < 200


def test_each_side_is_named_as_the_caller_says() -> None:
    refusal = skew_refusal("0.1.0", "0.3.0", "host mac", "this llorch")
    assert refusal is not None
    assert "host mac runs 0.3.0, this llorch 0.1.0" in refusal.message


MINORS = st.integers(0, 30)


@given(MINORS, MINORS)
def test_both_sides_judge_alike(ours: int, theirs: int) -> None:
    first = skew_refusal(f"1.{ours}.0", f"1.{theirs}.0", "a")
    second = skew_refusal(f"1.{theirs}.0", f"1.{ours}.0", "b")
    assert (first is None) is (second is None) is (abs(ours - theirs) <= 1)
