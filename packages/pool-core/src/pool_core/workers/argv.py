"""Spells a worker's orders as a command line in llama-server's names: pure.

The same names work for llorch-worker and for llama-server, so one builder serves both engines.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.pool import Backend, WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind

__all__ = ["Launch", "worker_argv"]

HOST: Final = "127.0.0.1"

# The orchestrator takes silence for a broken connection only because a living worker pings.
_PING_S: Final = 5
_ALL_LAYERS: Final = 999


@dataclass(frozen=True, slots=True)
class Launch:
    """What a start needs beyond the spec."""

    program: Path
    model_path: Path
    key_path: Path
    port: int
    threads: int


def worker_argv(spec: WorkerSpec, launch: Launch) -> list[str]:
    """The program and its arguments; the engine's context is the total over all slots."""
    if spec.ctx is None or spec.parallel is None:
        raise AssertionError("the pool chooses context and slots before it starts a worker")
    argv = [str(launch.program)]
    argv += ["--model", str(launch.model_path), "--alias", spec.model.model_id]
    argv += ["--host", HOST, "--port", str(launch.port)]
    argv += ["--api-key-file", str(launch.key_path)]
    argv += ["--ctx-size", str(spec.ctx * spec.parallel), "--parallel", str(spec.parallel)]
    argv += ["--threads", str(launch.threads)]
    argv += _batch(spec, spec.ctx)
    if spec.backend is not Backend.CPU:
        argv += ["--n-gpu-layers", str(_ALL_LAYERS)]
    argv += ["--sse-ping-interval", str(_PING_S), "--metrics"]
    if spec.task is TaskKind.EMBED:
        argv += ["--embeddings", "--pooling", "mean"]
    elif spec.task is TaskKind.RERANK:
        argv += ["--embeddings", "--pooling", "rank"]
    return argv


def _batch(spec: WorkerSpec, ctx: int) -> list[str]:
    if spec.task is TaskKind.GENERATE:
        return ["--batch-size", str(spec.batch_size)]
    # A vector is made from the whole text at once: what does not fit one batch is an error.
    whole = str(max(spec.batch_size, ctx))
    return ["--batch-size", whole, "--ubatch-size", whole]
