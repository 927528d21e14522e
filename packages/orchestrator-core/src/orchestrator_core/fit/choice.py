"""Chooses context and slots of a worker where its order leaves them open: pure.

What the order names is never changed: it fits or it does not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import Backend

__all__ = ["Choice", "choose"]

_TOP_CTX: Final = 8192
_FLOOR_CTX: Final = 2048
# A vector is made from a whole text at once, so every token of the context costs a buffer that
# may be as wide as the vocabulary: longer texts are for those who ask for them.
_TOP_VECTOR_CTX: Final = 2048
_FLOOR_VECTOR_CTX: Final = 512
_SLOTS: Final = 4
# The slots of a CPU share its few cores: more of them make every single answer slow.
_CPU_SLOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """Context per slot and slots; where nothing fits, the least that was tried."""

    ctx: int
    parallel: int
    fits: bool
    reasons: tuple[str, ...] = ()


def choose(
    *,
    ctx: int | None,
    parallel: int | None,
    trained_ctx: int | None,
    backend: Backend,
    fits: Callable[[int, int], bool],
    embeds: bool = False,
) -> Choice:
    """The first candidate that fits: context is halved first, to its floor, then the slots."""
    contexts = (ctx,) if ctx is not None else tuple(_contexts(trained_ctx, embeds=embeds))
    default = _CPU_SLOTS if backend is Backend.CPU else _SLOTS
    slots = (parallel,) if parallel is not None else tuple(_halves(default))
    candidates = [(each, slots[0]) for each in contexts]
    candidates += [(contexts[-1], each) for each in slots[1:]]
    found = next((each for each in candidates if fits(*each)), None)
    chosen_ctx, chosen_parallel = found or candidates[-1]
    reasons: list[str] = []
    if ctx is None:
        reasons += _why_ctx(contexts[0], chosen_ctx, trained_ctx)
    if parallel is None:
        reasons += _why_parallel(slots[0], chosen_parallel, backend)
    return Choice(chosen_ctx, chosen_parallel, found is not None, tuple(reasons))


def _contexts(trained_ctx: int | None, *, embeds: bool) -> Iterator[int]:
    top = _TOP_VECTOR_CTX if embeds else _TOP_CTX
    floor = _FLOOR_VECTOR_CTX if embeds else _FLOOR_CTX
    top, floor = min(trained_ctx or top, top), min(trained_ctx or floor, floor)
    while top > floor:
        yield top
        top //= 2
    yield floor


def _halves(slots: int) -> Iterator[int]:
    while slots > 0:
        yield slots
        slots //= 2


def _why_ctx(top: int, chosen: int, trained_ctx: int | None) -> Iterator[str]:
    trained = f", trained for {trained_ctx}" if trained_ctx else ""
    yield f"ctx {top} is the default for this model{trained}"
    if chosen != top:
        yield f"ctx {chosen} instead: more does not fit into the memory that is left"


def _why_parallel(top: int, chosen: int, backend: Backend) -> Iterator[str]:
    yield f"parallel {top} is the default on {backend.value}"
    if chosen != top:
        yield f"parallel {chosen} instead: more does not fit into the memory that is left"
