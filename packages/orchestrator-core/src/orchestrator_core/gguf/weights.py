"""Sums up the tensors of a model: how much weighs what, and how many parameters there are. Pure.

Takes a parsed header; the file's size stands in where a tensor's size cannot be known.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.gguf.header import Header, TensorInfo

__all__ = ["Weights", "weights_of"]

_LAYER: Final = re.compile(r"blk\.(\d{1,4})\.")
_EXPERTS: Final = re.compile(r"\.ffn_(?:gate|up|down|gate_up)_(?:ch)?exps\.")
# They lie beside the weights and are none.
_NO_PARAMETERS: Final = ("rope_freqs.", "rope_factors_")


@dataclass(frozen=True, slots=True)
class Weights:
    """Sizes in bytes; exact where every tensor's type is known.

    layer_bytes goes by layer; expert_bytes is the part of which each token needs only a few.
    """

    total_bytes: int
    are_exact: bool
    parameters: int
    layer_bytes: tuple[int, ...]
    expert_bytes: int
    embedding_bytes: int
    output_bytes: int


def weights_of(header: Header, blocks: int | None, file_bytes: int | None) -> Weights:
    """Add up everything."""
    total, are_exact = _total(header, file_bytes)
    sizes = {tensor.name: tensor.size_bytes or 0 for tensor in header.tensors}
    return Weights(
        total_bytes=total,
        are_exact=are_exact,
        parameters=_parameters(header.tensors),
        layer_bytes=_by_layer(header.tensors, blocks or 0),
        expert_bytes=sum(size for name, size in sizes.items() if _EXPERTS.search(name)),
        embedding_bytes=sizes.get("token_embd.weight", 0),
        output_bytes=sizes.get("output.weight", 0),
    )


def _total(header: Header, file_bytes: int | None) -> tuple[int, bool]:
    known = [tensor.size_bytes for tensor in header.tensors if tensor.size_bytes is not None]
    if len(known) == len(header.tensors):
        return sum(known), True
    if file_bytes is None:
        return sum(known), False
    return max(sum(known), file_bytes - header.data_offset), False


def _parameters(tensors: Iterable[TensorInfo]) -> int:
    return sum(
        math.prod(tensor.shape) for tensor in tensors if not tensor.name.startswith(_NO_PARAMETERS)
    )


def _by_layer(tensors: Iterable[TensorInfo], blocks: int) -> tuple[int, ...]:
    sums = [0] * blocks
    for tensor in tensors:
        found = _LAYER.match(tensor.name)
        if found and int(found.group(1)) < blocks:
            sums[int(found.group(1))] += tensor.size_bytes or 0
    return tuple(sums)
