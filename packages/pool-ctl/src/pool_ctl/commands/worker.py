"""llorch-pool worker: start, stop, list and read the workers of this host."""

from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import Seconds, output_options, pool_url
from orchestrator_core.console.render import Format, Output
from pool_ctl.commands.live_names import CATALOG, WORKERS
from pool_ctl.commands.sizing import BACKENDS, size_options
from pool_ctl.commands.views import SPAWN_COLUMNS, WORKER_COLUMNS, worker_row
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.contracts.pool import WorkerReport

__all__ = ["list_workers", "logs", "spawn", "stop", "worker"]


_SPAWN_EPILOG: Final = """\b
Examples:
  llorch-pool worker spawn cpu --model tiny-chat
  llorch-pool worker spawn cuda --model hf:Qwen/Qwen3-8B-GGUF:Q4_K_M --gpu 1 --parallel 8
  llorch-pool worker spawn cpu --model ./my-model.gguf --ctx 4096
  llorch-pool worker spawn cpu --model tiny-story --no-wait --format json
"""


@click.command("spawn", epilog=_SPAWN_EPILOG)
@click.argument("backend", type=click.Choice(BACKENDS), metavar="BACKEND")
@click.option(
    "--model",
    required=True,
    shell_complete=CATALOG,
    metavar="M",
    help="Id of a model, hf:ORG/REPO:QUANT, or a GGUF file.",
)
@click.option("--gpu", type=click.IntRange(min=0), metavar="N", help="Index of the GPU to use.")
@size_options
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="CPU threads to compute with; else one for each core.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is ready.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(min=0, min_open=True),
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
    threads: int | None,
    wait: bool,
    timeout_s: float,
    url: str | None,
    out: Output,
) -> None:
    """Start a worker on this host.

    BACKEND is where it computes: cpu, cuda, metal, rocm, vulkan or sycl. The worker is yours:
    the scheduler uses it and never stops it. It runs on when the command ends, with pool-managerd
    and without it.
    """
    if backend == "cpu" and gpu is not None:
        raise click.UsageError("--gpu does not go with cpu")
    from orchestrator_core.catalog.resolve import Catalog
    from orchestrator_core.contracts.pool import Backend, SpawnRequest
    from pool_ctl.commands import spawning
    from pool_ctl.commands.models.held import held_models
    from pool_ctl.commands.orders import Typed, make_spec
    from pool_ctl.pools.choice import open_pool

    typed = Typed(
        model=model,
        backend=Backend(backend),
        gpu=gpu,
        ctx=ctx,
        parallel=parallel,
        threads=threads,
    )
    with open_pool(settings, url, out.say) as pool:
        spec = make_spec(
            typed,
            pool.devices() if gpu is not None else [],
            catalog=lambda: Catalog.of(settings.layout),
            held=lambda: held_models(settings, url, out.say),
        )
        order = SpawnRequest(spec=spec)
        if wait:
            started = spawning.bring_up(pool, order, out, timeout_s=timeout_s)
        else:
            started = spawning.start(pool, order)
    spawning.congratulate(out, started)
    out.record({**worker_row(started), **_key_file(settings, started)}, SPAWN_COLUMNS)


@click.command("stop", epilog="\b\nExample:\n  llorch-pool worker stop worker-cpu-0")
@click.argument("worker_name", metavar="ID", shell_complete=WORKERS)
@click.option(
    "--grace",
    "grace_s",
    type=Seconds(0, 600),
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
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
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
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
        items = pool.workers()
    out.rows([worker_row(it) for it in items], WORKER_COLUMNS, empty="There are no workers.")


@click.command(
    "logs",
    epilog="""\b
Examples:
  llorch-pool worker logs worker-cpu-0
  llorch-pool worker logs worker-cpu-0 -n 20 --follow
""",
)
@click.argument("worker_name", metavar="ID", shell_complete=WORKERS)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="How many lines from the end.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until it ends.")
@pool_url
@output_options
@click.pass_obj
def logs(
    settings: CliSettings,
    *,
    worker_name: str,
    lines: int,
    follow: bool,
    url: str | None,
    out: Output,
) -> None:
    """Show what a worker itself has written, by its id or its name.

    A worker that has been cleared away is found by its id for a while.
    """
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
        for line in pool.logs(worker_name, tail=lines, follow=follow):
            out.text(line)


worker = LazyGroup(
    "worker",
    commands=[spawn, stop, list_workers, logs],
    help="Start, stop, list and read workers.\n\nA worker is one process that holds one model.",
)


def _key_file(settings: CliSettings, worker: "WorkerReport") -> dict[str, object]:
    """Where the key of a worker lies that opens it, if it is a worker of this host."""
    path = settings.layout.worker_records / f"{worker.id}.key"
    return {"key_file": str(path)} if path.is_file() else {}
