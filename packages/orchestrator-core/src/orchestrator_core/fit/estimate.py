"""Estimates the memory that a model needs with a context and a number of slots: pure.

Takes the shape of a model. The formulas follow the engine's own buffers; the constants were
measured on its CPU build, and never lie below what was measured.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.fit.shape import ModelShape
from orchestrator_core.units import KIB, MIB

__all__ = ["ACCELERATOR_OVERHEAD_BYTES", "Need", "estimate"]

ACCELERATOR_OVERHEAD_BYTES: Final = 512 * MIB
"""What a process takes of a card before it holds anything: the driver's context and kernels."""

_PROCESS_BYTES: Final = 48 * MIB
_SLOT_BYTES: Final = 512 * KIB
# The engine keeps every token's text, its numbers and two indexes.
_TOKEN_BYTES: Final = 420
# Each slot keeps a score and a candidate for every token.
_TOKEN_BYTES_PER_SLOT: Final = 16
_FLOAT_BYTES: Final = 4
_MASK_BYTES: Final = 2
_MAX_MICRO_BATCH: Final = 512
# The engine rounds the context of a slot up to whole groups of cells.
_CELL_GROUP: Final = 256
# Every layer of these keeps keys and values for the whole context and nothing else.
_PLAIN: Final = frozenset(
    [
        "llama",
        "mistral3",
        "qwen2",
        "qwen2moe",
        "qwen3",
        "qwen3moe",
        "gemma",
        "granite",
        "internlm2",
        "olmo2",
        "smollm3",
        "stablelm",
        "starcoder2",
    ]
)


@dataclass(frozen=True, slots=True)
class Need:
    """What a worker will take; approximate where the architecture's own rules are not known."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    approximate: bool = False

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.overhead_bytes

    @property
    def sure_bytes(self) -> int:
        """What is needed in any case: a guessed cache may be a quarter of the guess."""
        doubtful = self.kv_bytes * 3 // 4 if self.approximate else 0
        return self.total_bytes - doubtful


def estimate(
    facts: ModelShape,
    *,
    ctx: int,
    parallel: int,
    batch_size: int = 256,
    kv_bytes_per_element: float = 2.0,
    embeds: bool = False,
    accelerated: bool = False,
) -> Need:
    """What a worker needs whose slots have ctx tokens each.

    A batch is computed in parts of at most 512 tokens, unless the worker embeds: a vector is made
    from a whole text at once. An accelerated worker's process costs what a driver takes of a card.
    """
    tokens = max(batch_size, ctx) if embeds else min(batch_size, _MAX_MICRO_BATCH)
    cells = _whole_groups(ctx)
    is_plain = facts.architecture in _PLAIN and facts.sliding_window is None
    is_told = facts.blocks is not None and bool(facts.kv_heads) and facts.key_length is not None
    return Need(
        weights_bytes=_weights(facts),
        kv_bytes=round(_kv_elements(facts, cells, tokens) * parallel * kv_bytes_per_element),
        compute_bytes=_compute(facts, cells, tokens),
        overhead_bytes=_overhead(facts, parallel, accelerated=accelerated),
        approximate=not (is_plain and is_told and facts.weights_exact),
    )


def _whole_groups(tokens: int) -> int:
    return -(-tokens // _CELL_GROUP) * _CELL_GROUP


def _weights(facts: ModelShape) -> int:
    # The parts of a split model are of about the same size, and the others are not read.
    return facts.weights_bytes * facts.split_count


def _kv_elements(facts: ModelShape, cells: int, tokens: int) -> int:
    """The elements that one slot keeps, over all layers."""
    per_cell = sum(facts.kv_heads) * ((facts.key_length or 0) + (facts.value_length or 0))
    if facts.sliding_window is None or not facts.blocks:
        return per_cell * cells
    seen = min(cells, _whole_groups(facts.sliding_window + tokens))
    whole_blocks = facts.blocks - facts.sliding_blocks
    return per_cell * (cells * whole_blocks + seen * facts.sliding_blocks) // facts.blocks


def _compute(facts: ModelShape, cells: int, tokens: int) -> int:
    """The larger of the two widest moments of a pass, a layer's and the last one's; and a mask."""
    width = facts.embedding_length or 0
    layer = 4 * width + 2 * (facts.feed_forward_length or 0)
    last = 2 * width + (facts.vocab_size or 0)
    return tokens * (_FLOAT_BYTES * max(layer, last) + _MASK_BYTES * cells)


def _overhead(facts: ModelShape, parallel: int, *, accelerated: bool) -> int:
    if accelerated:
        return ACCELERATOR_OVERHEAD_BYTES
    per_token = _TOKEN_BYTES + _TOKEN_BYTES_PER_SLOT * parallel
    return _PROCESS_BYTES + _SLOT_BYTES * parallel + per_token * (facts.vocab_size or 0)
