"""The two daemons as a command line sees them: names, variables, addresses, lock."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.config import layout as layouts
from orchestrator_core.config.layout import Layout

__all__ = ["ORCHESTRATORD", "POOL_MANAGERD", "DaemonProgram"]


@dataclass(frozen=True, slots=True)
class DaemonProgram:
    """One daemon; the program's name is also the name of its run file and its log."""

    name: str
    health_path: str
    url_variable: str
    bind_variable: str
    bind_default: str
    start_command: str
    lock_of: Callable[[Layout], Path]


def _orchestrator_lock(layout: Layout) -> Path:
    return layout.orchestrator_lock


def _pool_lock(layout: Layout) -> Path:
    return layout.pool_lock


ORCHESTRATORD: Final = DaemonProgram(
    name=layouts.ORCHESTRATORD,
    health_path="/livez",
    url_variable="LLORCH_ORCHESTRATOR_URL",
    bind_variable="LLORCH_ORCHESTRATOR_BIND",
    bind_default="127.0.0.1:8080",
    start_command="llorch orchestrator start",
    lock_of=_orchestrator_lock,
)

POOL_MANAGERD: Final = DaemonProgram(
    name=layouts.POOL_MANAGERD,
    health_path="/health",
    url_variable="LLORCH_POOL_URL",
    bind_variable="LLORCH_POOL_BIND",
    bind_default="127.0.0.1:9200",
    start_command="llorch-pool daemon start",
    lock_of=_pool_lock,
)
