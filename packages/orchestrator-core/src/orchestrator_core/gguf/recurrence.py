"""Which layers carry a state instead of a growing cache, and how large that state is: pure.

A state has one size however long the text is. Takes the keys of a header.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.gguf.keys import Keys, RangeError

__all__ = ["State", "keeps_both", "recurrent_layers", "state_of"]

_MAX_LENGTH: Final = 1 << 20
_MAX_KERNEL: Final = 1 << 10
_MAX_GROUPS: Final = 1 << 14
_MAX_INTERVAL: Final = 1 << 16
_MAX_HEADS: Final = 1 << 14
_MAX_WIDTH: Final = 1 << 20
_MAX_ELEMENTS: Final = 1 << 32
_KDA_TAPS: Final = 3
_TOKEN_SHIFTS: Final = 2
# A token is mixed with the one before it for each of its six inputs.
_MIXED_INPUTS: Final = 6

_ALL: Final = frozenset(["arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"])
# A layer of these carries a state beside its cache.
_BOTH: Final = frozenset(["falcon-h1"])
# A layer that keeps no heads carries a state.
_BY_HEADS: Final = frozenset(
    ["bailingmoe3", "granitehybrid", "jamba", "kimi-linear", "lfm2", "lfm2moe", "plamo2"]
)
# There it also has no feed-forward part.
_BY_HEADS_AND_WIDTH: Final = frozenset(["nemotron_h", "nemotron_h_moe"])
# The last of so many layers has attention, unless the header lists the others.
_INTERVALS: Final = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}


@dataclass(frozen=True, slots=True)
class State:
    """What a sequence carries: so many layers with so many numbers each, and their inner width."""

    layers: int
    shifted_elements: int
    held_elements: int
    inner_length: int

    @property
    def elements(self) -> int:
        """The numbers of one sequence over all layers."""
        return self.layers * (self.shifted_elements + self.held_elements)


def recurrent_layers(
    keys: Keys, blocks: int, trunk: int, heads: tuple[int, ...]
) -> tuple[bool, ...]:
    """A yes for each layer that carries a state; heads are those that the header names."""
    name = keys.architecture
    if name in _ALL or name in _BOTH:
        return (True,) * blocks
    if name in _BY_HEADS or name in _BY_HEADS_AND_WIDTH:
        widths = keys.per_block("feed_forward_length", blocks, 0, _MAX_WIDTH) or (0,) * blocks
        must_be_bare = name in _BY_HEADS_AND_WIDTH
        return tuple(
            index < trunk and not kept and not (must_be_bare and width)
            for index, (kept, width) in enumerate(zip(heads, widths, strict=False))
        )
    if name not in _INTERVALS:
        return (False,) * blocks
    listed = keys.flags("attention.recurrent_layers", blocks)
    if listed is not None:
        return tuple(flag and index < trunk for index, flag in enumerate(listed))
    every = keys.whole("full_attention_interval", 1, _MAX_INTERVAL) or _INTERVALS[name]
    return tuple(index < trunk and (index + 1) % every != 0 for index in range(blocks))


def keeps_both(architecture: str) -> bool:
    """Whether a layer with a state has a cache as well."""
    return architecture in _BOTH


def state_of(keys: Keys, layers: int, width: int | None, key_length: int | None) -> State | None:
    """The state of the layers that carry one; None where the header keeps silent about it."""
    if not layers or width is None:
        return None
    state = _state(keys, layers, width, key_length or 0)
    if state is not None and state.elements > layers * _MAX_ELEMENTS:
        raise RangeError(f"a state of {state.elements} numbers")
    return state


def _state(keys: Keys, layers: int, width: int, key_length: int) -> State | None:
    head_size = keys.whole("wkv.head_size", 0, _MAX_LENGTH)
    if head_size:
        shifts = keys.whole("token_shift_count", 0, _MAX_KERNEL)
        shifted = (_TOKEN_SHIFTS if shifts is None else shifts) * width
        return State(layers, shifted, width * head_size, _MIXED_INPUTS // 2 * width)
    taps = keys.whole("shortconv.l_cache", 0, _MAX_KERNEL)
    if taps:
        return State(layers, width * (taps - 1), 0, width)
    kernel = keys.whole("ssm.conv_kernel", 0, _MAX_KERNEL)
    heads = keys.whole("attention.head_count", 0, _MAX_HEADS) or 0
    if length := keys.whole("kda.head_dim", 0, _MAX_LENGTH):
        before = kernel - 1 if kernel else _KDA_TAPS
        inner = heads * length
        return State(layers, 3 * before * inner, length * inner, inner)
    if keys.architecture == "minimax-01":
        return State(layers, 0, key_length * key_length * heads, heads * key_length)
    return _scanned(keys, layers, kernel)


def _scanned(keys: Keys, layers: int, kernel: int | None) -> State | None:
    inner = keys.whole("ssm.inner_size", 0, _MAX_LENGTH)
    state = keys.whole("ssm.state_size", 0, _MAX_LENGTH)
    if inner is None or state is None:
        return None
    groups = keys.whole("ssm.group_count", 0, _MAX_GROUPS) or 0
    before = max(0, (kernel or 0) - 1)
    return State(layers, before * (inner + 2 * groups * state), state * inner, inner)
