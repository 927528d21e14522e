"""Which versions of llorch-pool go with which llorch."""

import pytest

from llorch_ctl.hosts.versions import host_skew
from orchestrator_core.errors import Code


@pytest.mark.parametrize("theirs", ["0.2.0", "0.2.9", "0.1.5", "0.3.0"])
def test_one_minor_of_difference_is_taken(theirs: str) -> None:
    assert host_skew("0.2.0", theirs, "mac") is None


def test_an_older_host_is_refused_with_the_command_that_helps() -> None:
    refusal = host_skew("0.2.0", "0.0.9", "mac")
    assert refusal is not None
    assert refusal.code is Code.VERSION_SKEW
    assert refusal.message == (
        "llorch-pool on mac is 0.0.9, this is 0.2.0: run: llorch host upgrade mac"
    )


def test_a_newer_host_asks_for_a_newer_llorch() -> None:
    refusal = host_skew("0.2.0", "1.0.0", "mac")
    assert refusal is not None
    assert refusal.message == "llorch-pool on mac is 1.0.0, this is 0.2.0: upgrade llorch here"


@pytest.mark.parametrize("theirs", ["", "new", "0", "0.1.0\x1b[2J"])
def test_what_is_no_version_is_refused_harmlessly(theirs: str) -> None:
    refusal = host_skew("0.2.0", theirs, "mac")
    assert refusal is not None
    assert refusal.message.isprintable()
    assert "llorch host upgrade mac" in refusal.message
