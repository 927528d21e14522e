from pathlib import Path

import pytest

from llorch_worker.settings import parse
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.contracts.tasks import TaskKind
from pool_core.workers.argv import Launch, worker_argv
from support.pool_builders import spec

LAUNCH = Launch(Path("/bin/llorch-worker"), Path("/m/a.gguf"), Path("/k/w.key"), 8001, threads=4)


def test_spells_a_worker_in_llama_servers_names() -> None:
    assert worker_argv(spec(ctx=2048, parallel=4), LAUNCH) == [
        "/bin/llorch-worker",
        *("--model", "/m/a.gguf", "--alias", "tiny-chat"),
        *("--host", "127.0.0.1", "--port", "8001", "--api-key-file", "/k/w.key"),
        *("--ctx-size", "8192", "--parallel", "4", "--threads", "4", "--batch-size", "256"),
        *("--sse-ping-interval", "5", "--metrics"),
    ]


@pytest.mark.parametrize(("task", "pooling"), [(TaskKind.EMBED, "mean"), (TaskKind.RERANK, "rank")])
def test_vectors_are_made_in_one_batch(task: TaskKind, pooling: str) -> None:
    settings = parse(worker_argv(spec(task=task), LAUNCH)[1:])
    assert settings.embeddings
    assert settings.pooling == pooling
    assert (settings.batch_size, settings.ubatch_size) == (1024, 1024)


@pytest.mark.parametrize("task", TaskKind)
def test_our_own_worker_understands_every_command_line(task: TaskKind) -> None:
    settings = parse(worker_argv(spec(task=task, ctx=512, parallel=2), LAUNCH)[1:])
    assert (settings.ctx_size, settings.parallel, settings.port) == (1024, 2, 8001)


def test_a_worker_on_a_gpu_computes_all_its_layers_there() -> None:
    settings = parse(worker_argv(spec(backend=Backend.METAL), LAUNCH)[1:])
    assert settings.gpu_layers == 999
    assert parse(worker_argv(spec(), LAUNCH)[1:]).gpu_layers == 0
