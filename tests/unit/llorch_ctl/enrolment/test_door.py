"""What a host complains of is told on with its own words and its own code."""

import pytest

from llorch_ctl.enrolment.door import complaint_in
from orchestrator_core.errors import Code


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("error: the disk is full (DISK_LOW)", ("the disk is full", Code.DISK_LOW)),
        (
            "error: no such model (it was never pulled)",
            ("no such model (it was never pulled)", None),
        ),
        ("sh: 1: llorch-pool: not found", ("sh: 1: llorch-pool: not found", None)),
        (" (DISK_LOW)", (" (DISK_LOW)", None)),
        ("", ("", None)),
    ],
)
def test_the_code_stands_at_the_end(line: str, complaint: tuple[str, Code | None]) -> None:
    assert complaint_in(line) == (complaint[0], complaint[1] or Code.INTERNAL)
