"""llorch dev: the table of its commands."""

from typing import Final

from orchestrator_core.console.lazy_group import Lazy, LazyGroup

__all__ = ["dev"]

_HELP: Final = """Make this machine ready, and find out what is wrong with it or with its hosts.

`llorch-pool dev doctor` looks at a host that computes, `llorch dev doctor` at the machine that
controls.
"""

dev = LazyGroup(
    "dev",
    lazy={
        "doctor": Lazy(
            "llorch_ctl.commands.dev.doctor:doctor",
            "Check this machine and say what helps (exit code 0 or 1).",
        ),
        "check": Lazy(
            "llorch_ctl.commands.dev.check:check",
            "Check settings and hosts (exit code 0 or 1).",
        ),
        "setup": Lazy(
            "llorch_ctl.commands.dev.setup:setup",
            "Make this machine ready; doing it twice does no harm.",
        ),
    },
    help=_HELP,
)
