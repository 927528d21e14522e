"""Which of the models that hosts hold a name or a reference means; pure.

The catalogue's own names are the resolver's: these are files that people fetched or took in.
"""

from collections.abc import Iterable
from typing import Final

from orchestrator_core.catalog.gguf_names import quant_of, same_quant
from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.contracts.pool import ModelReport
from orchestrator_core.errors import Refusal

__all__ = ["meant_by"]

_DEFAULT_REVISION: Final = "main"


def meant_by(text: str, held: Iterable[ModelReport]) -> list[ModelReport]:
    """The held models that a text names: one by its id, or all that a hub reference fits."""
    reports = list(held)
    named = [report for report in reports if report.id == text]
    if named:
        return named[:1]
    reference = parse(text)
    if isinstance(reference, Refusal) or reference.kind is not ReferenceKind.HUB:
        return []
    return [report for report in reports if _fits(report, reference)]


def _fits(report: ModelReport, reference: Reference) -> bool:
    if report.repo != reference.repo:
        return False
    if reference.revision not in (None, _DEFAULT_REVISION, report.commit):
        return False
    if reference.file is not None:
        return reference.file == report.file
    return reference.quant is None or same_quant(quant_of(report.file), reference.quant)
