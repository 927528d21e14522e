"""What an operator may set for orchestratord; read once in main and passed down, never changed."""

from typing import Final

from pydantic import Field

from orchestrator_core.daemon.settings import DaemonSettings

__all__ = ["ENV_PREFIX", "OrchestratorSettings"]

ENV_PREFIX: Final = "LLORCH_ORCHESTRATOR_"


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
    shutdown_grace_s: float = Field(
        10.0, ge=0, description="How long open answers may go on after a stop was asked for"
    )
