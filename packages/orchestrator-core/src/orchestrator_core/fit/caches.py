"""What a context keeps of the tokens it has seen, in cells of whole groups: pure.

Takes the shape of a model; each slot has a cache of its own, and the layers that slide keep only
their window and the part of a batch that is computed at once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from orchestrator_core.fit.shape import ModelShape

# A worker estimates too, and has no use for what checks messages.
if TYPE_CHECKING:
    from orchestrator_core.contracts.model_info import CacheType

__all__ = ["CACHE_BLOCKS", "cells_of", "kv_bytes", "window_cells"]

CACHE_BLOCKS: Final["Mapping[CacheType, tuple[int, int]]"] = MappingProxyType(
    {
        "f32": (1, 4),
        "f16": (1, 2),
        "bf16": (1, 2),
        "q8_0": (32, 34),
        "q5_1": (32, 24),
        "q5_0": (32, 22),
        "q4_1": (32, 20),
        "q4_0": (32, 18),
        "iq4_nl": (32, 18),
    }
)
"""How keys or values are kept: the elements of one block, and the bytes of one block."""

# The engine rounds the context of a slot up to whole groups of cells.
_CELL_GROUP: Final = 256


def cells_of(ctx: int) -> int:
    """The cells of a slot that looks at its whole context."""
    return -(-ctx // _CELL_GROUP) * _CELL_GROUP


def window_cells(shape: ModelShape, ctx: int, tokens: int) -> int:
    """The cells of a slot in a layer that slides; tokens are computed at once."""
    cells = cells_of(ctx)
    if shape.sliding_window is None:
        return cells
    return cells_of(min(cells, shape.sliding_window + tokens))


def kv_bytes(
    shape: ModelShape,
    *,
    ctx: int,
    tokens: int,
    cache_type_k: "CacheType",
    cache_type_v: "CacheType",
) -> int:
    """What one slot keeps over all layers."""
    whole, window = cells_of(ctx), window_cells(shape, ctx, tokens)
    total = 0
    for index, heads in enumerate(shape.kv_heads):
        slides = index < len(shape.sliding) and shape.sliding[index]
        key, value = _lengths(shape, slides=slides)
        cell = _row_bytes(heads * key, cache_type_k)
        if shape.expanded_key_length is None:
            cell += _row_bytes(heads * value, cache_type_v)
        total += cell * (window if slides else whole)
    return total


def _lengths(shape: ModelShape, *, slides: bool) -> tuple[int, int]:
    key, value = shape.key_length or 0, shape.value_length or 0
    if not slides:
        return key, value
    return shape.sliding_key_length or key, shape.sliding_value_length or value


def _row_bytes(elements: int, kind: "CacheType") -> int:
    block, size = CACHE_BLOCKS[kind]
    return -(-elements // block) * size
