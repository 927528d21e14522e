"""What an operator writes about an engine that somebody else runs: one [[external]] table.

Comes from pool.toml, for the daemon and for the command alike; what could never work is refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, cast

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from orchestrator_core.catalog.external import name_fault, read_engine_address
from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Refusal

__all__ = ["MODELS_MAX", "ExternalEngine", "ExternalEngines"]

MODELS_MAX: Final = 32


def _address(text: str) -> str:
    found = read_engine_address(text)
    if isinstance(found, Refusal):
        raise ValueError(found.message)  # noqa: TRY004 - pydantic's word for a refused value.
    return found.url


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _as_tables(value: object) -> object:
    """One pair of brackets too few is the likeliest slip of all."""
    if isinstance(value, list | tuple):
        return cast("Sequence[object]", value)
    raise ValueError("write [[external]], with two brackets on each side, above each engine")


def _as_table(value: object) -> object:
    """A list names models as the engine names them."""
    if not isinstance(value, list | tuple):
        return value
    names = cast("Sequence[object]", value)
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) != len(names):
        raise ValueError("must be a list of names, or a table of our names and the engine's")
    twice = next((name for name in texts if texts.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'the model "{twice}" is named twice')
    return dict(zip(texts, texts, strict=True))


def _well_named(models: dict[str, str]) -> dict[str, str]:
    if len(models) > MODELS_MAX:
        raise ValueError(f"holds {len(models)} models, at most {MODELS_MAX} are taken")
    for ours, theirs in models.items():
        fault = name_fault(ours) or ("names nothing" if not theirs.strip() else None)
        if fault is not None:
            # As a literal, because what it holds may not be fit for a terminal.
            raise ValueError(f"the name {ours[:80]!r} {fault}")
    return models


def _all_different(engines: "tuple[ExternalEngine, ...]") -> "tuple[ExternalEngine, ...]":
    names = [engine.name for engine in engines]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'two engines are named "{twice}"')
    return engines


class ExternalEngine(Order):
    """One running server that speaks OpenAI's dialect; models maps our names to the engine's.

    Without models, all that the engine lists are offered. max_concurrency holds for each model.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]
    url: Annotated[str, AfterValidator(_address)]
    key_file: Annotated[Path, AfterValidator(_absolute)] | None = None
    models: Annotated[dict[str, str], BeforeValidator(_as_table), AfterValidator(_well_named)] = (
        Field(default_factory=dict)
    )
    max_concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    task: TaskKind = TaskKind.GENERATE


ExternalEngines = Annotated[
    tuple[ExternalEngine, ...], BeforeValidator(_as_tables), AfterValidator(_all_different)
]
