"""The engines that somebody else runs, as a command sees them that finds no daemon.

They come from pool.toml and are looked at once; none is ever started or stopped.
"""

import asyncio
from collections.abc import Mapping

from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.errors import Refusal, error_for
from pool_core.externals.reading import read_externals
from pool_core.externals.watch import Externals
from pool_core.workers.installation import read_or_draw_instance

__all__ = ["ExternalLook", "look_at_externals"]


class ExternalLook:
    """What one look has shown."""

    def __init__(self, externals: Externals | None) -> None:
        self._externals = externals

    def reports(self) -> list[WorkerReport]:
        """Their models as workers, without keys."""
        found = self._externals.reports() if self._externals else []
        return [report.without_key() for report in found]

    def faults(self) -> Mapping[str, str]:
        """What is wrong with an engine, by its name."""
        return self._externals.faults() if self._externals else {}

    def stop_refusal(self, worker: str) -> Refusal | None:
        """Why this worker cannot be stopped here; None: it is no external one."""
        return self._externals.stop_refusal(worker) if self._externals else None


def look_at_externals(layout: Layout) -> ExternalLook:
    """Ask every engine of the settings file; without one nothing is asked or written."""
    engines = read_externals(layout.config_file("pool"))
    if isinstance(engines, Refusal):
        raise error_for(engines)
    if not engines:
        return ExternalLook(None)
    externals = Externals(
        engines,
        instance=read_or_draw_instance(layout.pool_instance),
        clock=SystemClock(),
        roll=lambda: 0.0,
        on_change=lambda: None,
    )
    asyncio.run(externals.look_once())
    return ExternalLook(externals)
