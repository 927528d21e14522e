"""llorch-pool worker: start, stop and list the workers of this host."""

from typing import Final

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output
from pool_ctl.commands.views import SPAWN_COLUMNS, WORKER_COLUMNS, worker_row
from pool_ctl.settings import CliSettings

__all__ = ["list_workers", "spawn", "stop", "worker"]

_BACKENDS: Final = ("cpu", "cuda", "metal", "rocm", "vulkan", "sycl")

_SPAWN_EPILOG: Final = """\b
Examples:
  llorch-pool worker spawn cpu --model tiny-chat
  llorch-pool worker spawn cuda --model tiny-chat --gpu 1 --parallel 8
  llorch-pool worker spawn cpu --model tiny-story --no-wait --format json
"""


@click.command("spawn", epilog=_SPAWN_EPILOG)
@click.argument("backend", type=click.Choice(_BACKENDS), metavar="BACKEND")
@click.option("--model", required=True, metavar="M", help="Alias or id of a model.")
@click.option("--gpu", type=click.IntRange(min=0), metavar="N", help="Index of the GPU to use.")
@click.option(
    "--ctx",
    type=click.IntRange(64, 4_194_304),
    metavar="N",
    help="Context of each slot in tokens; else what the catalogue says.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Answers made at the same time; else what the catalogue says.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is ready.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=180.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@pool_url
@output_options
@click.pass_obj
def spawn(
    settings: CliSettings,
    *,
    backend: str,
    model: str,
    gpu: int | None,
    ctx: int | None,
    parallel: int | None,
    wait: bool,
    timeout_s: float,
    url: str | None,
    out: Output,
) -> None:
    """Start a worker on this host.

    BACKEND is where it computes: cpu, cuda, metal, rocm, vulkan or sycl. The worker is yours:
    the scheduler uses it and never stops it.
    """
    if backend == "cpu" and gpu is not None:
        raise click.UsageError("--gpu does not go with cpu")
    from orchestrator_core.contracts.pool import SpawnRequest
    from pool_ctl.commands.spawning import make_spec, progress, wait_until_ready

    with settings.pool(url) as pool:
        devices = pool.devices() if gpu is not None else []
        spec = make_spec(
            model, backend=backend, gpu=gpu, ctx=ctx, parallel=parallel, devices=devices
        )
        started = pool.spawn(SpawnRequest(spec=spec))
        if wait:
            started = wait_until_ready(pool, started, progress(out), timeout_s=timeout_s)
    out.record(worker_row(started), SPAWN_COLUMNS)


@click.command("stop", epilog="\b\nExample:\n  llorch-pool worker stop worker-cpu-0")
@click.argument("worker_name", metavar="ID")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time to finish before it is killed.",
)
@pool_url
@output_options
@click.pass_obj
def stop(
    settings: CliSettings, *, worker_name: str, grace_s: float, url: str | None, out: Output
) -> None:
    """Stop a worker by its id or its name.

    Returns when its process is gone.
    """
    from orchestrator_core.contracts.pool import StopRequest

    with settings.pool(url) as pool:
        stopped = pool.stop(worker_name, StopRequest(grace_s=grace_s))
    if out.shape is Format.TABLE:
        out.text(f"{stopped.name} ({stopped.id}) has stopped")
    else:
        out.record(worker_row(stopped), ())


@click.command("list", epilog="\b\nExample:\n  llorch-pool worker list --format json")
@pool_url
@output_options
@click.pass_obj
def list_workers(settings: CliSettings, *, url: str | None, out: Output) -> None:
    """List the workers of this host."""
    with settings.pool(url) as pool:
        items = pool.workers().items
    out.rows([worker_row(it) for it in items], WORKER_COLUMNS, empty="There are no workers.")


worker = LazyGroup(
    "worker",
    commands=[spawn, stop, list_workers],
    help="Start, stop and list workers.\n\nA worker is one process that holds one model.",
)
