"""llorch host: the machines of this user, and whose host keys are trusted."""

from typing import Final

from orchestrator_core.clients.ssh.login import SSH_CONFIG_OPTIONS
from orchestrator_core.console.lazy_group import Lazy, LazyGroup

__all__ = ["host"]

_HELP: Final = """Make the machines you own pools, keep them well, and undo it.

`llorch host trust NAME`, then `llorch host add NAME`: only SSH has to be open between the machines.

A host is named in config/llorch.toml. Without an entry there, a name means what ssh makes of it:
an alias of ~/.ssh/config or a host name.
"""

_EPILOG: Final = (
    f"Of ~/.ssh/config these options count and no others: {', '.join(SSH_CONFIG_OPTIONS)}. "
    "None of them can weaken the check of host keys."
)

host = LazyGroup(
    "host",
    lazy={
        "add": Lazy("llorch_ctl.commands.host.add:add", "Make a machine a pool."),
        "list": Lazy(
            "llorch_ctl.commands.host.listing:list_hosts", "List the hosts you have named."
        ),
        "trust": Lazy("llorch_ctl.commands.host.trust:trust", "Accept the host key of a machine."),
        "check": Lazy("llorch_ctl.commands.host.check:check", "Find out what is wrong with hosts."),
        "upgrade": Lazy("llorch_ctl.commands.host.upgrade:upgrade", "Put this release on hosts."),
        "remove": Lazy("llorch_ctl.commands.host.remove:remove", "Undo what add has done."),
    },
    help=_HELP,
    epilog=_EPILOG,
)
