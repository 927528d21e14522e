"""What each layer of a model keeps of a context: pure.

Takes the keys of a header and the tables of architectures; a layer that shares another one's
cache, carries a state or only drafts keeps nothing.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.gguf.architectures import KEEPS_NOTHING, SLIDING, Sliding
from orchestrator_core.gguf.keys import Keys
from orchestrator_core.gguf.recurrence import keeps_both, recurrent_layers

__all__ = ["MAX_HEADS", "Attention", "attention_of"]

MAX_HEADS: Final = 1 << 14
"""No model has more heads in a layer."""

_MAX_WINDOW: Final = 1 << 30
_GEMMA3N_OWN: Final = 20


@dataclass(frozen=True, slots=True)
class Attention:
    """Layer by layer the heads that are kept, and whether only a window of them is."""

    kv_heads: tuple[int, ...] = ()
    sliding: tuple[bool, ...] = ()
    sliding_window: int | None = None
    recurrent_blocks: int = 0


def attention_of(keys: Keys, blocks: int | None) -> Attention:
    """Judge every layer."""
    window = keys.whole("attention.sliding_window", 0, _MAX_WINDOW)
    if blocks is None:
        return Attention(sliding_window=window or None)
    trunk = blocks - (keys.whole("nextn_predict_layers", 0, blocks) or 0)
    named = _named_heads(keys, blocks)
    recurrent = recurrent_layers(keys, blocks, trunk, named)
    both = keeps_both(keys.architecture)
    own = min(trunk, _own_layers(keys, blocks))
    kept = tuple(
        heads if index < own and (both or not recurrent[index]) else 0
        for index, heads in enumerate(named)
    )
    if keys.architecture in KEEPS_NOTHING:
        kept = (0,) * len(kept)
    rule = SLIDING.get(keys.architecture)
    window = _window(rule, window, blocks)
    sliding = _pattern(keys, rule, blocks, trunk) if rule and window else ()
    return Attention(kept, sliding, window, sum(recurrent))


def _named_heads(keys: Keys, blocks: int) -> tuple[int, ...]:
    own = keys.per_block("attention.head_count_kv", blocks, 0, MAX_HEADS)
    return own or keys.per_block("attention.head_count", blocks, 0, MAX_HEADS) or ()


def _own_layers(keys: Keys, blocks: int) -> int:
    """How many layers from the first on have a cache of their own."""
    if keys.architecture == "gemma3n":
        return _GEMMA3N_OWN
    if keys.architecture == "gemma4":
        return blocks - (keys.whole("attention.shared_kv_layers", 0, blocks) or 0)
    return blocks


def _window(rule: Sliding | None, told: int | None, blocks: int) -> int | None:
    """The window that the engine goes by; a told 0 switches it off."""
    if rule is None or told == 0 or rule.only_blocks not in (None, blocks):
        return None
    if told is None and rule.is_optional:
        return None
    return rule.window if rule.is_fixed else told or rule.window


def _pattern(keys: Keys, rule: Sliding, blocks: int, trunk: int) -> tuple[bool, ...]:
    listed = keys.flags("attention.sliding_window_pattern", blocks)
    if listed is not None:
        return listed
    told = keys.whole("attention.sliding_window_pattern", 0, 1 << 31)
    group = rule.group if told is None else told
    if group is None:
        return (False,) * blocks
    return tuple(index < trunk and _slides(index, group, rule) for index in range(blocks))


def _slides(index: int, group: int, rule: Sliding) -> bool:
    if group == 0:
        return True
    return index % group != (0 if rule.full_first else group - 1)
