"""llorch host add: makes a machine a pool, over SSH or by a command that it runs itself."""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import orchestrator_url, output_options
from orchestrator_core.console.render import Column, Format, Output

if TYPE_CHECKING:
    from llorch_ctl.enrolment.adding import Added, Adding
    from llorch_ctl.enrolment.desk import Desk
    from llorch_ctl.enrolment.plan import Plan

__all__ = ["add"]

_EPILOG: Final = """\b
Examples:
  llorch host add mac
  llorch host add workstation me@192.168.1.20 --dry-run
  llorch host add blep --offline --wheels ./wheels
  llorch host add vm --join --url https://192.168.1.2:8080

\b
What is installed, and where:
  ~/.local/share/llorch/releases/VERSION-DIGEST   one virtual environment per release
  ~/.local/share/llorch/current                   the release that runs
The suite's own packages always come from this machine. The others come from the host's own
package index, with exact versions and digests, or with --offline from this machine as well.
"""


def _bytes(value: object) -> str:
    from orchestrator_core.units import format_bytes

    return format_bytes(value) if isinstance(value, int) else "-"


_STEPS: Final = (Column("number", "step", right=True), Column("text", "what"), Column("why", "why"))
_DEVICES: Final = (
    Column("id", "device"),
    Column("name", "name"),
    Column("backends", "backends"),
    Column("memory_total_bytes", "memory", right=True, show=_bytes),
)


@click.command("add", short_help="Make a machine a pool.", epilog=_EPILOG)
@click.argument("name", metavar="NAME")
@click.argument("destination", metavar="[USER@]HOST[:PORT]", required=False)
@click.option("--dry-run", is_flag=True, help="Look, show the steps, and change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Begin without asking.")
@click.option(
    "--trust",
    "fingerprint",
    metavar="SHA256:...",
    help="Accept the host key with this fingerprint first.",
)
@click.option("--offline", is_flag=True, help="Send everything; the host asks no package index.")
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="The suite's own wheels, as ./dev wheels makes them.",
)
@click.option(
    "--third-party",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="The wheels of others; else third-party/ beside the suite's own.",
)
@click.option("--python", metavar="PATH", help="The interpreter to use on the host.")
@click.option("--home", metavar="PATH", help="LLORCH_HOME on the host; else its XDG folders.")
@click.option(
    "--daemon-port",
    type=click.IntRange(1, 65_535),
    default=9200,
    show_default=True,
    help="Where pool-managerd listens on the host.",
)
@click.option("--no-service", is_flag=True, help="Start pool-managerd without a service manager.")
@click.option("--no-join", is_flag=True, help="Install only; tell no orchestrator.")
@click.option(
    "--endpoint",
    metavar="[USER@]HOST[:PORT]",
    help="How the orchestrator reaches the host, where that differs.",
)
@click.option(
    "--direct",
    metavar="BIND",
    help="No tunnel: pool-managerd listens at BIND with TLS and reports by itself.",
)
@click.option("--join", "only_join", is_flag=True, help="No SSH: print the command for the host.")
@orchestrator_url
@output_options
@click.pass_obj
def add(
    settings: CliSettings,
    *,
    name: str,
    destination: str | None,
    only_join: bool,
    dry_run: bool,
    yes: bool,
    fingerprint: str | None,
    url: str | None,
    out: Output,
    **chosen: object,
) -> None:
    """Make a machine a pool of this orchestrator; only SSH must be open.

    NAME is what it will be called; without a destination it is also what ssh is told. Every step
    is shown. Running the same command again does what is missing, and nothing twice. A machine
    without SSH joins by the command that --join prints.
    """
    from llorch_ctl.commands.host.add_order import read_adding
    from llorch_ctl.enrolment.adding import add_host
    from llorch_ctl.hosts.entries import unfit_name
    from orchestrator_core.errors import Refusal, error_for

    refusal = unfit_name(name)
    if refusal is not None:
        raise error_for(refusal)
    if only_join:
        _print_join(settings, name, url, out)
        return
    desk = None if chosen["no_join"] else _desk(settings, url)
    adding = read_adding(settings, name, destination, chosen, url, out.say)
    if isinstance(adding, Refusal):
        raise error_for(adding)
    if fingerprint is not None:
        _trust(settings, adding, fingerprint, out)

    def agree(plan: "Plan") -> bool:
        return _agree(plan, name, out, dry_run=dry_run, yes=yes)

    added = asyncio.run(add_host(settings, adding, desk, say=out.say, agree=agree))
    if isinstance(added, Refusal):
        raise error_for(added)
    _report(name, added, out)


def _desk(settings: CliSettings, url: str | None) -> "Desk":
    from llorch_ctl.enrolment.desk import Desk
    from llorch_ctl.home.connection import connect

    client = connect(settings, url)
    # The process ends with this command; nothing else closes what it holds.
    click.get_current_context().call_on_close(client.close)
    return Desk(client, client.peer.url)


def _agree(plan: "Plan", name: str, out: Output, *, dry_run: bool, yes: bool) -> bool:
    for warning in plan.warnings:
        out.warn(warning)
    if dry_run:
        return False
    if yes or not sys.stdin.isatty() or out.shape is not Format.TABLE:
        return True
    for number, step in enumerate(plan.steps, start=1):
        out.say(f"{number:3}. {step.text}")
    return click.confirm(f"Do this on {name}?", default=True, err=True)


def _trust(settings: CliSettings, adding: "Adding", fingerprint: str, out: Output) -> None:
    from llorch_ctl.enrolment.trusting import trust_one
    from orchestrator_core.errors import Refusal, error_for

    done = asyncio.run(trust_one(settings, adding.entry.name, adding.destination, fingerprint))
    if isinstance(done, Refusal):
        raise error_for(done)
    out.say(f"{adding.entry.name} is trusted by {fingerprint}")


def _print_join(settings: CliSettings, name: str, url: str | None, out: Output) -> None:
    from llorch_ctl.enrolment.joining import join_command, push_way
    from llorch_ctl.home.connection import connect
    from orchestrator_core.contracts.joining import JoinTokenOrder
    from orchestrator_core.errors import Refusal, error_for

    with connect(settings, url) as client:
        way = push_way(client.peer.url, _certificate(settings, client.peer.url))
        if isinstance(way, Refusal):
            raise error_for(way)
        token = client.join_token(JoinTokenOrder(pool_id=name))
    command = join_command(way, name, token.token.get_secret_value())
    if out.shape is not Format.TABLE:
        out.record({"pool": name, "command": command, "expires_at": token.expires_at}, ())
        return
    out.say(f"Install llorch-pool-ctl and llorch-pool-managerd on {name}, and run there once:")
    out.text(command)
    out.say(f"The token in it works once, until {token.expires_at}.")


def _certificate(settings: CliSettings, url: str) -> Path | None:
    from orchestrator_core.console.endpoints import trust_for
    from orchestrator_core.console.programs import ORCHESTRATORD

    trust = trust_for(url, ORCHESTRATORD, env=settings.env, layout=settings.layout)
    return trust.file if trust is not None and trust.is_peers_own else None


def _report(name: str, added: "Added", out: Output) -> None:
    steps = [
        {"number": number, "step": step.kind.value, "text": step.text, "why": step.why}
        for number, step in enumerate(added.plan.steps, start=1)
    ]
    devices = (
        [device.model_dump(mode="json") for device in added.pool.devices] if added.pool else []
    )
    if out.shape is not Format.TABLE:
        row = {
            "host": name,
            "done": added.is_done,
            "release": added.plan.release,
            "steps": steps,
            "warnings": list(added.plan.warnings),
            "status": added.pool.status if added.pool else None,
            "devices": devices,
        }
        out.record(row, ())
        return
    if not added.is_done:
        out.rows(steps, _STEPS)
        out.say(f"nothing was changed; llorch host add {shlex.quote(name)} does this")
        return
    if added.pool is not None:
        out.say(f"{name} is a pool now; its devices:")
        out.rows(devices, _DEVICES, empty="it has told no device yet")
    else:
        out.say(f"{name} is installed; llorch pool status --host {name} looks at it")
