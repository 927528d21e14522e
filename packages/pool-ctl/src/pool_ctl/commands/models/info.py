"""llorch-pool models info: what a model is, and what a worker with it takes of each device."""

from typing import Final

import click

from orchestrator_core.console.options import output_options, pool_url
from orchestrator_core.console.render import Format, Output, cell
from pool_ctl.commands.live_names import CATALOG
from pool_ctl.commands.models.views import FIT_COLUMNS, INFO_COLUMNS, fit_rows, info_row
from pool_ctl.commands.sizing import BACKENDS, size_options
from pool_ctl.settings import CliSettings

__all__ = ["info"]

_CACHE_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

_EPILOG: Final = """\b
Examples:
  llorch-pool models info tinyllama
  llorch-pool models info hf:Qwen/Qwen3-8B-GGUF:Q4_K_M --ctx 16384 --parallel 4
  llorch-pool models info llama3 --backend cuda --gpu 0 --cache-type-k q8_0 --cache-type-v q8_0
"""


@click.command(
    "info", short_help="Show what a model is, and whether it fits on this host.", epilog=_EPILOG
)
@click.argument("name", metavar="M", shell_complete=CATALOG)
@size_options
@click.option(
    "--cache-type-k",
    type=click.Choice(_CACHE_TYPES),
    default="f16",
    show_default=True,
    help="How the keys of the context are kept.",
)
@click.option(
    "--cache-type-v",
    type=click.Choice(_CACHE_TYPES),
    default="f16",
    show_default=True,
    help="How the values of the context are kept.",
)
@click.option("--backend", type=click.Choice(BACKENDS), help="Only devices that compute by this.")
@click.option("--gpu", type=click.IntRange(min=0), metavar="N", help="Only the GPU of this index.")
@pool_url
@output_options
@click.pass_obj
def info(
    settings: CliSettings,
    *,
    name: str,
    ctx: int | None,
    parallel: int | None,
    cache_type_k: str,
    cache_type_v: str,
    backend: str | None,
    gpu: int | None,
    url: str | None,
    out: Output,
) -> None:
    """Show what a model is, and what a worker with it takes of each device of this host.

    The model need not be here: of one that is not, only the header is read from the hub.
    """
    if backend == "cpu" and gpu is not None:
        raise click.UsageError("--gpu does not go with cpu")
    from orchestrator_core.contracts.model_info import InfoOrder
    from pool_ctl.commands.models.orders import read_order
    from pool_ctl.pools.models.choice import open_models

    typed: dict[str, object] = {
        "model": _meant(name),
        "ctx": ctx,
        "parallel": parallel,
        "cache_type_k": cache_type_k,
        "cache_type_v": cache_type_v,
        "backend": backend,
        "device_ids": _devices(settings, url, backend, gpu, out) if gpu is not None else (),
    }
    order = read_order(InfoOrder, typed)
    with open_models(settings, url, out.say) as here:
        found = here.info(order)
    if out.shape is not Format.TABLE:
        out.record(found.model_dump(mode="json"), ())
        return
    out.record(info_row(found), INFO_COLUMNS)
    if found.fits:
        out.text("")
        out.rows(fit_rows(found), FIT_COLUMNS)
    for fit in found.fits:
        for reason in fit.reasons:
            out.text(cell(f"{fit.device_name}: {reason}"))


def _meant(name: str) -> str:
    """The name, or the reference of the file that a person means by a path."""
    from orchestrator_core.catalog.reference import parse
    from pool_ctl.commands.orders import path_of

    path = path_of(name, parse(name))
    return name if path is None else f"file:{path}"


def _devices(
    settings: CliSettings, url: str | None, backend: str | None, gpu: int, out: Output
) -> tuple[str, ...]:
    from orchestrator_core.contracts.pool import Backend
    from orchestrator_core.errors import Code, Refusal, error_for
    from pool_ctl.commands.orders import pick_device
    from pool_ctl.pools.choice import open_pool

    with open_pool(settings, url, out.say) as pool:
        found = pool.devices()
    if backend is not None:
        return (pick_device(Backend(backend), gpu, found),)
    ids = tuple(it.id for it in found if it.kind == "gpu" and it.index == gpu)
    if not ids:
        text = f"this host has no GPU {gpu}: llorch-pool devices shows what it has"
        raise error_for(Refusal(Code.BACKEND_UNAVAILABLE, text))
    return ids
