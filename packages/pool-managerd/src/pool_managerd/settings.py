"""The daemon's settings and the defaults that depend on the host.

Values come from flags, LLORCH_POOL_* variables, config/pool.toml and these defaults, in that
order (orchestrator_core.config.loader); main reads them once and passes them down.
"""

import re
import shutil
import socket
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from orchestrator_core.daemon.settings import DaemonSettings
from orchestrator_core.errors import Code, Refusal

__all__ = [
    "ENV_PREFIX",
    "LOCAL",
    "PoolSettings",
    "find_worker_program",
    "pool_id_for",
]

ENV_PREFIX: Final = "LLORCH_POOL_"
LOCAL: Final = "local"

_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9._-]+")


PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _http_url(text: str) -> str:
    if text == LOCAL:
        return text
    if not re.fullmatch(r"https?://[^/\s@?#]+/?", text):
        raise ValueError('must look like http://HOST:PORT, or be "local"')
    return text.rstrip("/")


class PoolSettings(DaemonSettings):
    """Everything that can be set for pool-managerd."""

    bind: str = Field("127.0.0.1:9200", description="host:port to listen on; port 0 takes any free")
    pool_id: PoolName | None = Field(
        None, description="This host's name in the cluster; the hostname when unset"
    )
    orchestrator_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description='Where to register; "local" finds the orchestrator of this installation '
        "wherever it listens, unset means that the pool works alone",
    )
    orchestrator_key_file: Path | None = Field(
        None, description="File with the key for registering; state/local-pool.key when unset"
    )
    worker_program: Path | None = Field(
        None, description="The worker to start; llorch-worker beside this program when unset"
    )
    stop_grace_s: float = Field(
        10.0, ge=0, le=600, description="Time between TERM and KILL when a stop order names none"
    )


def pool_id_for(settings: PoolSettings, hostname: str | None = None) -> str:
    """The configured name, else the hostname with unusual characters replaced."""
    if settings.pool_id is not None:
        return settings.pool_id
    name = hostname if hostname is not None else socket.gethostname()
    return _NOT_ALLOWED.sub("-", name).strip("._-")[:64] or "pool"


def find_worker_program(settings: PoolSettings, interpreter: Path) -> Path | Refusal:
    """Find the worker beside the interpreter, then on PATH."""
    if settings.worker_program is not None:
        return settings.worker_program
    beside = interpreter.parent / "llorch-worker"
    if beside.is_file():
        return beside
    found = shutil.which("llorch-worker")
    if found is not None:
        return Path(found)
    return Refusal(
        Code.CONFIG_INVALID,
        f"llorch-worker is neither in {interpreter.parent} nor on PATH: "
        "install llorch-worker or set worker_program",
    )
