"""llorch-pool daemon drain and resume: close this host for new workers, and open it again."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.clients.pool import PoolClient
    from orchestrator_core.contracts.pool import PoolStatusView

__all__ = ["drain", "resume"]

_COLUMNS: Final = (Column("pool_id", "Pool"), Column("draining", "Draining"))
_TIMEOUT_S: Final = 10.0


@click.command(
    short_help="Take no new workers of the orchestrator; what runs goes on.",
    epilog="\b\nExample:\n  llorch-pool daemon drain",
)
@output_options
@click.pass_obj
def drain(settings: CliSettings, *, out: Output) -> None:
    """Take no new workers and no new jobs of the orchestrator.

    Running workers go on and their jobs finish. It holds over restarts until
    `llorch-pool daemon resume`. A worker that you spawn yourself still starts.
    """
    _show(out, _ask(settings, lambda pool: pool.drain()))


@click.command(
    short_help="Take the orchestrator's workers and jobs again.",
    epilog="\b\nExample:\n  llorch-pool daemon resume",
)
@output_options
@click.pass_obj
def resume(settings: CliSettings, *, out: Output) -> None:
    """End the draining: take the orchestrator's workers and jobs again."""
    _show(out, _ask(settings, lambda pool: pool.resume()))


def _ask(settings: CliSettings, turn: "Callable[[PoolClient], PoolStatusView]") -> "PoolStatusView":
    from orchestrator_core.clients.pool import PoolClient
    from orchestrator_core.clients.trust import Trust
    from orchestrator_core.console.endpoints import key_for
    from orchestrator_core.errors import Code, Refusal, error_for

    run = settings.run_file()
    if run is None:
        text = "pool-managerd is not running: start it with llorch-pool daemon start"
        raise error_for(Refusal(Code.UNREACHABLE, text))
    trust = Trust.in_run_file(run)
    key = key_for(run.url, env=settings.env, key_file=settings.layout.pool_key, trust=trust)
    with PoolClient(run.url, key, timeout_s=_TIMEOUT_S, trust=trust) as pool:
        return turn(pool)


def _show(out: Output, view: "PoolStatusView") -> None:
    if out.shape is not Format.TABLE:
        out.record({"pool_id": view.pool_id, "draining": view.draining}, _COLUMNS)
    elif view.draining:
        out.text(f"{view.pool_id} is draining: llorch-pool daemon resume ends it")
    else:
        out.text(f"{view.pool_id} takes the orchestrator's workers and jobs")
