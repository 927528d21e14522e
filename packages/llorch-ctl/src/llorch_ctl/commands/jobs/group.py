"""llorch jobs: hand jobs in, follow them, list, show and cancel them."""

from typing import Final

from orchestrator_core.console.lazy_group import Lazy, LazyGroup

__all__ = ["jobs"]

_HELP: Final = """Hand in jobs, follow them, list and cancel them.

A job is on disk once its id is told. It goes on whether or not somebody follows it, also across
restarts, and `llorch jobs watch` reads its answer again from any place.
"""

jobs = LazyGroup(
    "jobs",
    lazy={
        "submit": Lazy(
            "llorch_ctl.commands.jobs.submit:submit", "Hand in a job and print its answer."
        ),
        "list": Lazy("llorch_ctl.commands.jobs.listing:list_jobs", "List jobs, newest first."),
        "status": Lazy("llorch_ctl.commands.jobs.status:status", "Show everything about one job."),
        "watch": Lazy(
            "llorch_ctl.commands.jobs.watch:watch", "Follow a job's answer from any place."
        ),
        "cancel": Lazy("llorch_ctl.commands.jobs.cancel:cancel", "Cancel jobs."),
    },
    help=_HELP,
)
