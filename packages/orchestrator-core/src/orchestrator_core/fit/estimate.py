"""Estimates the memory that a model needs with a context and a number of slots: pure.

Takes the shape of a model. The formulas follow the engine's own buffers; the constants were
measured on its CPU build, and never lie below what was measured.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator_core.fit.caches import cells_of, kv_bytes
from orchestrator_core.fit.passes import output_bytes, pass_bytes
from orchestrator_core.fit.shape import ModelShape
from orchestrator_core.units import KIB, MIB

if TYPE_CHECKING:
    from orchestrator_core.contracts.model_info import CacheType

__all__ = ["ACCELERATOR_OVERHEAD_BYTES", "Need", "estimate"]

ACCELERATOR_OVERHEAD_BYTES: Final = 512 * MIB
"""What a process takes of a card before it holds anything: the driver's context and kernels."""

_PROCESS_BYTES: Final = 48 * MIB
_SLOT_BYTES: Final = 512 * KIB
# The engine keeps every token's text, its numbers and two indexes.
_TOKEN_BYTES: Final = 420
# Each slot keeps a score and a candidate for every token.
_TOKEN_BYTES_PER_SLOT: Final = 16
_STATE_BYTES: Final = 4
_MAX_MICRO_BATCH: Final = 512


@dataclass(frozen=True, slots=True)
class Need:
    """What a worker will take; approximate where the architecture's own rules are not known.

    kv_bytes grows with the context, state_bytes only with the number of slots. guessed_bytes is
    the part of the weights that nobody has looked at.
    """

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    approximate: bool = False
    state_bytes: int = 0
    guessed_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it."""
        kept = self.kv_bytes + self.state_bytes
        return self.weights_bytes + kept + self.compute_bytes + self.overhead_bytes

    @property
    def sure_bytes(self) -> int:
        """What is needed in any case: a guessed cache may be a quarter of the guess."""
        doubtful = self.kv_bytes * 3 // 4 if self.approximate else 0
        return self.total_bytes - doubtful - self.guessed_bytes


def estimate(
    facts: ModelShape,
    *,
    ctx: int,
    parallel: int,
    batch_size: int = 256,
    cache_type_k: "CacheType" = "f16",
    cache_type_v: "CacheType" = "f16",
    embeds: bool = False,
    accelerated: bool = False,
    weights_bytes: int | None = None,
) -> Need:
    """What a worker needs whose slots have ctx tokens each.

    A batch is computed in parts of at most 512 tokens, unless the worker embeds: a vector is made
    from a whole text at once. An accelerated worker's process costs what a driver takes of a card.
    Who knows the size of all parts of a split model names it.
    """
    tokens = _tokens_at_once(facts, ctx, parallel, batch_size, embeds=embeds)
    kept = kv_bytes(
        facts, ctx=ctx, tokens=tokens, cache_type_k=cache_type_k, cache_type_v=cache_type_v
    )
    state = 0 if facts.state is None else facts.state.elements
    computed = pass_bytes(facts, ctx=ctx, parallel=parallel, tokens=tokens, embeds=embeds)
    # The parts of a split model are of about the same size, but the last one may be small.
    guessed = 0 if weights_bytes is not None else facts.weights_bytes * (facts.split_count - 1)
    weights_exact = facts.weights_exact or weights_bytes is not None
    whole = facts.weights_bytes + guessed if weights_bytes is None else weights_bytes
    return Need(
        weights_bytes=max(0, whole - _at_home(facts, accelerated=accelerated)),
        kv_bytes=kept * parallel,
        state_bytes=_STATE_BYTES * state * parallel,
        compute_bytes=computed + output_bytes(facts, parallel=parallel),
        overhead_bytes=_overhead(facts, parallel, accelerated=accelerated),
        approximate=not (facts.rules_known and _is_told(facts) and weights_exact),
        guessed_bytes=guessed,
    )


def _tokens_at_once(
    facts: ModelShape, ctx: int, parallel: int, batch_size: int, *, embeds: bool
) -> int:
    wanted = max(batch_size, ctx) if embeds else min(batch_size, _MAX_MICRO_BATCH)
    if not any(facts.kv_heads) and facts.state is None:
        return wanted
    # More than all slots hold together is never computed at once.
    return min(wanted, cells_of(ctx) * parallel)


def _is_told(facts: ModelShape) -> bool:
    if facts.blocks is None:
        return False
    if any(facts.kv_heads):
        return facts.key_length is not None
    return bool(facts.kv_heads) or facts.state is not None


def _at_home(facts: ModelShape, *, accelerated: bool) -> int:
    """Tokens are looked up in main memory; who scores them by the same table copies it."""
    return facts.embedding_bytes if accelerated and facts.output_bytes else 0


def _overhead(facts: ModelShape, parallel: int, *, accelerated: bool) -> int:
    if accelerated:
        return ACCELERATOR_OVERHEAD_BYTES
    per_token = _TOKEN_BYTES + _TOKEN_BYTES_PER_SLOT * parallel
    return _PROCESS_BYTES + _SLOT_BYTES * parallel + per_token * (facts.vocab_size or 0)
