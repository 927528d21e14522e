"""The names that `llorch-pool` completes: workers and models of this host, asked of its daemon."""

from collections.abc import Iterator
from typing import Final

from orchestrator_core.console.live_names import NameSource, completer, items_of, word
from orchestrator_core.console.programs import POOL_MANAGERD
from pool_ctl.settings import CliSettings

__all__ = ["CATALOG", "MODELS", "WORKERS"]


def _ask(path: str) -> object:
    settings = CliSettings.from_environment()
    layout = settings.layout
    return NameSource(POOL_MANAGERD, layout, settings.env, layout.pool_key).ask(path)


def _workers() -> Iterator[tuple[str, str]]:
    for worker in items_of(_ask("/workers")):
        told = f"{word(worker, 'status')} {word(worker, 'model')}"
        yield word(worker, "name") or word(worker, "id"), told


def _models() -> Iterator[tuple[str, str]]:
    for model in items_of(_ask("/models")):
        yield word(model, "id"), ""


def _catalog() -> Iterator[tuple[str, str]]:
    yield from _models()
    for model in items_of(_ask("/models/catalog")):
        yield word(model, "id"), word(model, "title") or word(model, "reference")


CATALOG: Final = completer(_catalog)
MODELS: Final = completer(_models)
WORKERS: Final = completer(_workers)
