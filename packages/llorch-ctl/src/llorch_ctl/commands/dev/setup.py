"""llorch dev setup: makes this machine ready to control others, and can be repeated without harm."""

from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Format, Output, cell

if TYPE_CHECKING:
    from llorch_ctl.diagnosis.preparation import Step

__all__ = ["setup"]

_EPILOG: Final = """\b
Examples:
  llorch dev setup --dry-run
  llorch dev setup
"""


@click.command(
    "setup", short_help="Make this machine ready; doing it twice does no harm.", epilog=_EPILOG
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@output_options
@click.pass_obj
def setup(settings: CliSettings, *, dry_run: bool, out: Output) -> int:
    """Make folders and settings files with explained defaults, and look for faults.

    What is there already is left as it is. Files of your own, such as the one where your shell
    starts, are never changed: the line for them is shown. Exit code 0: this machine is ready; 1: a
    step failed, or the doctor has found an error.
    """
    from llorch_ctl.diagnosis.examination import Wanted, examine
    from llorch_ctl.diagnosis.findings import judge
    from llorch_ctl.diagnosis.preparation import State, plan
    from llorch_ctl.diagnosis.preparing import look, perform
    from orchestrator_core.console.finding_reports import show_findings
    from orchestrator_core.errors import Exit

    found = look(settings)
    steps: list[Step] = []
    for step in plan(found):
        ended = step if dry_run else perform(settings, found, step)
        steps.append(ended)
        if out.shape is Format.TABLE:
            out.text(cell(f"{ended.subject:<10}  {ended.state.value:<13}  {ended.text}"))
    if out.shape is Format.TABLE:
        out.text("")
    findings = judge(examine(settings, Wanted()))
    rows = [{"subject": it.subject, "state": it.state.value, "text": it.text} for it in steps]
    code = show_findings(out, findings, beside={"steps": rows})
    return Exit.FAILURE if any(step.state is State.FAILED for step in steps) else code
