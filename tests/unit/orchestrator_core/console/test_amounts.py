"""Lengths of time carry their unit, and anything else is wrong usage."""

import click
import pytest

from orchestrator_core.console.amounts import Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15min", 900), ("15m", 900), ("1.5h", 5400), ("30d", 2_592_000), (" 2 w", 1_209_600)],
)  # fmt: skip
def test_a_length_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "-1s", "1y", "0s", "nan h", "1e3s", "9" * 20 + "s"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="like 90s, 24h or 30d"):
        Duration().convert(text, None, None)
