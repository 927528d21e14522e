"""What an operator may set for orchestratord; read once in main and passed down, never changed."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestrator_core.contracts.pool import PoolName
from orchestrator_core.daemon.settings import DaemonSettings
from orchestrator_core.units import MIB

__all__ = ["ENV_PREFIX", "DeclaredPool", "OrchestratorSettings"]

ENV_PREFIX: Final = "LLORCH_ORCHESTRATOR_"


class DeclaredPool(BaseModel):
    """A pool that stands in the file instead of being enrolled by a command: one [[pools]] table."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: PoolName
    endpoint: str = Field(min_length=1, max_length=300)
    host_keys: tuple[str, ...] = Field((), max_length=16)
    daemon_port: int = Field(9200, ge=1, le=65_535)
    certificate_file: Path | None = None
    credential_file: Path | None = None


class OrchestratorSettings(DaemonSettings):
    """Keys of orchestrator.toml, LLORCH_ORCHESTRATOR_* and the flags of the same names."""

    bind: str = Field("127.0.0.1:8080", description="host:port to listen on; port 0 takes any free")
    heartbeat_interval_s: float = Field(5.0, gt=0, le=60, description="How often pools report")
    retention_h: float = Field(24.0, gt=0, description="How long ended jobs can be replayed")
    keepalive_s: float = Field(15.0, gt=0, description="Comment on a silent stream after this")
    data_keepalive_after_s: float = Field(
        45.0, gt=0, description="From this wait on an OpenAI stream also gets empty chunks"
    )
    data_keepalive_s: float = Field(30.0, gt=0, description="How often it gets them")
    headers_after_s: float = Field(
        5.0, gt=0, description="A stream that still waits gets its response head after this"
    )
    load_wait_s: float = Field(
        120.0, gt=0, description="How long a call that does not stream waits for a model to load"
    )
    silence_s: float = Field(
        25.0, gt=0, description="An engine that sends no byte for this long is taken as lost"
    )
    stall_s: float = Field(
        60.0, gt=0, description="An attempt without a token for this long is taken as stuck"
    )
    connect_timeout_s: float = Field(5.0, gt=0, description="Limit for connecting to a worker")
    slow_reader_s: float = Field(
        30.0, gt=0, description="A client that reads nothing for this long is dropped"
    )
    default_max_tokens: int = Field(
        4096, ge=1, description="Length limit of an answer that names none"
    )
    queue_limit: int = Field(10_000, ge=1, description="Jobs that may wait or run at one time")
    queue_bytes_limit: int = Field(
        256 * MIB, ge=1, description="Bytes of all requests that may wait or run at one time"
    )
    key_queue_limit: int = Field(
        5_000, ge=1, description="Jobs of one key that may wait or run at one time"
    )
    model_queue_limit: int = Field(
        8_000, ge=1, description="Jobs for one model that may wait or run at one time"
    )
    load_waiters_limit: int = Field(
        2_000, ge=1, description="Jobs that may wait for a model while no worker serves it"
    )
    queue_timeout_s: float = Field(
        86_400.0, gt=0, description="A job that no worker took for this long expires"
    )
    load_timeout_s: float = Field(
        900.0, gt=0, description="A worker that loads for this long is taken as failed"
    )
    attempt_timeout_s: float = Field(
        3_600.0, gt=0, description="An attempt that runs for this long is broken off"
    )
    total_timeout_s: float = Field(
        7 * 86_400.0, gt=0, description="A job that has not ended after this long expires"
    )
    history_h: float = Field(
        168.0, gt=0, description="How long ended jobs are listed, without their text"
    )
    retain_prompts: bool = Field(
        default=False, description="Keep the prompts of completed jobs as long as their answers"
    )
    ballast_bytes: int = Field(
        64 * MIB, ge=0, description="Space held in reserve for the moment when the disk is full"
    )
    disk_reserve_bytes: int = Field(
        512 * MIB, ge=0, description="With less free space than this no new job is taken"
    )
    wrong_keys_per_minute: int = Field(
        20, ge=1, description="Wrong keys that one address may show before it has to wait"
    )
    tls_cert: Path | None = Field(
        default=None,
        description="Certificate chain (PEM), its own one first: with it the API speaks HTTPS only; "
        "a file that is replaced counts from the next start on",
    )
    tls_key: Path | None = Field(default=None, description="Private key of tls_cert (PEM)")
    pools: tuple[DeclaredPool, ...] = Field(
        (),
        max_length=256,
        description="Hosts that are enrolled by the file, one [[pools]] table each: name, endpoint "
        "(ssh://... or https://...), host_keys, daemon_port, certificate_file, credential_file",
    )
    shutdown_grace_s: float = Field(
        10.0, ge=0, description="How long open answers may go on after a stop was asked for"
    )

    @field_validator("pools")
    @classmethod
    def _names_differ(cls, pools: tuple[DeclaredPool, ...]) -> tuple[DeclaredPool, ...]:
        names = [pool.name for pool in pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {twice[0]} stands there twice")
        return pools
