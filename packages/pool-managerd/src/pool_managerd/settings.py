"""The daemon's settings and the defaults that depend on the host.

Values come from flags, LLORCH_POOL_* variables, config/pool.toml and these defaults, in that
order (orchestrator_core.config.loader); main reads them once and passes them down.
"""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from orchestrator_core.contracts.pool import PoolName
from orchestrator_core.daemon.settings import DaemonSettings
from pool_core.externals.settings import ExternalEngines

__all__ = [
    "ENV_PREFIX",
    "LOCAL",
    "PoolSettings",
]

ENV_PREFIX: Final = "LLORCH_POOL_"
LOCAL: Final = "local"


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
    orchestrator_ca: Path | None = Field(
        None,
        description="Certificates (PEM) that vouch for an https orchestrator; a local one is known "
        "by its run file, and without this the public authorities count",
    )
    orchestrator_pin: Path | None = Field(
        None,
        description="The one certificate (PEM) that the orchestrator shows, as a join has noted "
        "it; no other counts then, whatever name or time it bears",
    )
    tls: bool | None = Field(
        None,
        description="Speak HTTPS only; when unset, wherever other hosts can reach the address. "
        "Without tls_cert the pool makes a certificate of its own",
    )
    tls_cert: Path | None = Field(
        None,
        description="Certificate chain (PEM), its own one first, instead of the pool's own; "
        "a file that is replaced counts from the next start on",
    )
    tls_key: Path | None = Field(None, description="Private key of tls_cert (PEM)")
    worker_program: Path | None = Field(
        None, description="The worker to start; llorch-worker beside this program when unset"
    )
    models_folder: Path | None = Field(
        None, description="Where models lie; data/models of this installation when unset"
    )
    git_repo: Path | None = Field(
        None,
        description="The checkout that llorch-pool git works on; the current folder when unset",
    )
    share_models: bool = Field(
        default=False,
        description="Serve the models of this host to the other pools of its orchestrator; only "
        "where the API speaks HTTPS",
    )
    external: ExternalEngines = Field(
        (), description="Running OpenAI-compatible servers that serve as workers of this pool"
    )
    stop_grace_s: float = Field(
        10.0, ge=0, le=600, description="Time between TERM and KILL when a stop order names none"
    )
