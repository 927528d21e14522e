"""llorch-pool dev setup: makes a fresh host ready, and can be repeated without harm."""

from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Format, Output, cell
from orchestrator_core.errors import Exit
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.commands.setup.plan import Step

__all__ = ["setup"]

_EPILOG: Final = """\b
Examples:
  llorch-pool dev setup --dry-run
  llorch-pool dev setup
  llorch-pool dev setup --model qwen
  llorch-pool dev setup --no-models --format json
"""

_RECOMMENDED: Final = "tinyllama"


@click.command(
    "setup", short_help="Make this host ready; doing it twice does no harm.", epilog=_EPILOG
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--no-models", is_flag=True, help="Download no model; tiny-chat is there anyway.")
@click.option(
    "--model",
    default=_RECOMMENDED,
    show_default=True,
    metavar="M",
    help="The model to begin with: an id of the catalogue or hf:ORG/REPO:QUANT.",
)
@output_options
@click.pass_obj
def setup(settings: CliSettings, *, dry_run: bool, no_models: bool, model: str, out: Output) -> int:
    """Make folders and a settings file, fetch submodules and a first model, and look for faults.

    What is there already is left as it is. Exit code 0: this host is ready; 1: a step failed, or
    the doctor has found an error.
    """
    from orchestrator_core.console.finding_reports import show_findings
    from pool_ctl.commands.dev import examine_host
    from pool_ctl.commands.setup.acts import perform
    from pool_ctl.commands.setup.look import look
    from pool_ctl.commands.setup.plan import State, plan

    found = look(settings, None if no_models else model, out.say)
    steps: list[Step] = []
    for step in plan(found):
        ended = step if dry_run or step.act is None else perform(settings, found, step, out)
        steps.append(ended)
        if out.shape is Format.TABLE:
            out.text(cell(f"{ended.subject:<10}  {ended.state.value:<13}  {ended.text}"))
    if out.shape is Format.TABLE:
        out.text("")
    findings = examine_host(settings)
    failed = any(step.state is State.FAILED for step in steps)
    if out.shape is Format.TABLE:
        code = show_findings(out, findings)
    else:
        rows = [{"subject": it.subject, "state": it.state.value, "text": it.text} for it in steps]
        code = show_findings(out, findings, beside={"steps": rows})
    return Exit.FAILURE if failed else code
