"""Findings are shown with their count, and end a command with a failure when one is an error."""

import pytest

from orchestrator_core.console.finding_reports import show_findings
from orchestrator_core.console.render import Format, Output
from orchestrator_core.findings import Finding, Severity


def found(*severities: Severity) -> list[Finding]:
    return [Finding(severity, "disk", "it is so") for severity in severities]


@pytest.mark.parametrize(
    ("severities", "told", "code"),
    [
        ((Severity.OK, Severity.OK), "2 ok", 0),
        ((Severity.NOTE, Severity.OK), "1 note, 1 ok", 0),
        ((Severity.NOTE, Severity.NOTE, Severity.WARNING), "1 warning, 2 notes", 0),
        ((Severity.ERROR, Severity.ERROR), "2 errors", 1),
    ],
)
def test_they_are_counted_the_worst_first(
    capsys: pytest.CaptureFixture[str], severities: tuple[Severity, ...], told: str, code: int
) -> None:
    assert show_findings(Output(Format.TABLE), found(*severities)) == code
    assert capsys.readouterr().err == f"{told}\n"


def test_a_script_gets_only_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_findings(Output(Format.JSON), found(Severity.ERROR)) == 1
    assert capsys.readouterr().err == ""
