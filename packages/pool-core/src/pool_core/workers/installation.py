"""Puts together the supervisor of one installation, for the daemon and for the command alike.

Both read the same settings, mark workers with the same instance and keep the same records, so
that each of them knows the workers that the other has started.
"""

import random
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from orchestrator_core.clock import SystemClock
from orchestrator_core.config import loader
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms import files, sockets
from orchestrator_core.platforms.port import Platform
from pool_core.workers.supervisor import Supervisor
from pool_core.workers.survey import Models

__all__ = [
    "Installation",
    "find_worker_program",
    "open_supervisor",
    "pool_id_for",
    "read_or_draw_instance",
    "reserved_ports",
]

_WORKER: Final = "llorch-worker"
_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9._-]+")


class _Address(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    bind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Whose workers are to be supervised, on which system, started with what."""

    layout: Layout
    platform: Platform
    env: Mapping[str, str]
    worker_program: Path
    reserved_ports: frozenset[int] = field(default_factory=frozenset[int])


def pool_id_for(configured: str | None, hostname: str | None = None) -> str:
    """The configured name, else the hostname with unusual characters replaced."""
    if configured is not None:
        return configured
    name = hostname if hostname is not None else socket.gethostname()
    return _NOT_ALLOWED.sub("-", name).strip("._-")[:64] or "pool"


def find_worker_program(configured: Path | None, interpreter: Path | None = None) -> Path | Refusal:
    """Find the worker beside the interpreter, then on PATH."""
    if configured is not None:
        return configured
    folder = (interpreter or Path(sys.executable)).parent
    beside = folder / _WORKER
    if beside.is_file():
        return beside
    found = shutil.which(_WORKER)
    if found is not None:
        return Path(found)
    return Refusal(
        Code.CONFIG_INVALID,
        f"{_WORKER} is neither in {folder} nor on PATH: install {_WORKER} or set worker_program",
    )


def read_or_draw_instance(path: Path) -> str:
    """Read the id of this installation, which marks its workers over restarts, or draw it."""
    try:
        instance = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        instance = ""
    if not instance:
        instance = secrets.token_hex(8)
        files.write_atomically(path, f"{instance}\n".encode())
    return instance


def reserved_ports(
    layout: Layout, env: Mapping[str, str], *, own: Iterable[int] = ()
) -> frozenset[int]:
    """The ports of the suite's own daemons, which no worker may take."""
    binds = [
        _bind(layout.config_file("pool"), "LLORCH_POOL_", env) or "127.0.0.1:9200",
        _bind(layout.config_file("orchestrator"), "LLORCH_ORCHESTRATOR_", env) or "127.0.0.1:8080",
    ]
    parsed = [sockets.parse_bind(bind) for bind in binds]
    ports = {address[1] for address in parsed if not isinstance(address, Refusal)}
    return frozenset({*own, *ports} - {0})


def _bind(file: Path, env_prefix: str, env: Mapping[str, str]) -> str | None:
    try:
        found = loader.load(_Address, env_prefix=env_prefix, env=env, file=file, flags={})
    except LlorchError:
        # A mistake in a daemon's settings is for that daemon to report.
        return None
    return found.settings.bind


def open_supervisor(
    here: Installation,
    *,
    models: Models,
    probe: Callable[[], list[DeviceReport]],
    on_change: Callable[[], None] = lambda: None,
    ids: IdSource | None = None,
    restarts: bool = True,
) -> Supervisor:
    """Make the supervisor of an installation; whoever runs it holds pool.lock meanwhile.

    One that lives for a single act restarts nothing, since it would not be there to watch.
    """
    files.ensure_folder(here.layout.pool_folder)
    clock = SystemClock()
    return Supervisor(
        folder=here.layout.pool_folder,
        models=models,
        platform=here.platform,
        clock=clock,
        ids=ids or IdSource(clock),
        instance=read_or_draw_instance(here.layout.pool_instance),
        worker_program=here.worker_program,
        host_env=here.env,
        reserved_ports=here.reserved_ports,
        on_change=on_change,
        probe=probe,
        roll=random.random,
        restarts=restarts,
    )
