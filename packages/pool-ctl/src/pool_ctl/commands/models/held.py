"""Tells which models a host holds, for orders that name one of them."""

from collections.abc import Callable

from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.contracts.pool import ModelReport
from pool_ctl.pools.models.choice import open_models
from pool_ctl.settings import CliSettings

__all__ = ["held_models"]


def held_models(
    settings: CliSettings, url: str | None, say: Callable[[str], None]
) -> list[ModelReport]:
    """Every model of the pool that is meant."""
    with open_models(settings, url, say) as here:
        return [_report(model) for model in here.models()]


def _report(model: StoredModel) -> ModelReport:
    # The first file is the one that an engine opens.
    first = model.files[0]
    return ModelReport(
        id=model.id,
        file=first.file,
        size_bytes=model.size_bytes,
        sha256=first.sha256,
        source=model.source,
        repo=model.repo,
        commit=model.commit,
        trained_ctx=model.trained_ctx,
    )
