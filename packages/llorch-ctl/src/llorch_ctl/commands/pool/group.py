"""llorch pool: what the orchestrator sees of the hosts, and llorch-pool's verbs at any host."""

from typing import Final

import click

from llorch_ctl.commands.pool.host_verb import HostVerb
from llorch_ctl.commands.pool.verbs import VERBS
from llorch_ctl.commands.pool.words import move_leading
from orchestrator_core.console.lazy_group import Lazy, LazyGroup

__all__ = ["PoolGroup", "pool"]

_HELP: Final = """Show the hosts of the cluster, and control the pool of any host.

With --host NAME a verb of llorch-pool runs at that host: over SSH, with no daemon anywhere, or by
its pool-managerd. NAME stands in llorch.toml (`llorch host list`) or in ~/.ssh/config.
"""

_EPILOG: Final = """\b
Examples:
  llorch pool status
  llorch pool models download tinyllama --host mac
  llorch pool worker spawn metal --host mac --model tinyllama
  llorch pool worker spawn cuda --host auto --model llama3
  llorch pool git pull --host workstation
"""


class PoolGroup(LazyGroup):
    """Takes our options before the verb as well as behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--host mac worker list` as `worker --host mac list`."""
        return super().parse_args(ctx, move_leading(args))


pool = PoolGroup(
    "pool",
    lazy={
        "list": Lazy(
            "llorch_ctl.commands.pool.listing:list_pools", "List the pools of the cluster."
        ),
        "status": Lazy(
            "llorch_ctl.commands.pool.status:status", "Show pools, devices and workers."
        ),
        "drain": Lazy(
            "llorch_ctl.commands.pool.draining:drain", "Give a pool no new work; what runs goes on."
        ),
        "resume": Lazy("llorch_ctl.commands.pool.draining:resume", "Give a pool work again."),
    },
    commands=[HostVerb(name, verb) for name, verb in VERBS.items()],
    help=_HELP,
    epilog=_EPILOG,
)
