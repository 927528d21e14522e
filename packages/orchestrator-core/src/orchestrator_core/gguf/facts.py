"""What a header says about its model, each number within the range that an engine survives.

Takes a parsed header; fit, the catalogue of a host and the worker's own checks read the facts.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.gguf.architectures import KNOWN, SLIDING
from orchestrator_core.gguf.attention import MAX_HEADS, attention_of
from orchestrator_core.gguf.header import Damaged, Header, Items, Value
from orchestrator_core.gguf.keys import Keys, RangeError
from orchestrator_core.gguf.recurrence import State, state_of
from orchestrator_core.gguf.tensor_types import FILE_TYPES
from orchestrator_core.gguf.weights import Weights, weights_of

__all__ = ["ModelFacts", "facts_of"]

_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_NAME: Final = 128
# More layers than this make the engine abort instead of refusing the file: measured.
_MAX_BLOCKS: Final = 512
_MAX_CTX: Final = 1 << 30
_MAX_WIDTH: Final = 1 << 20
_MAX_HEAD_LENGTH: Final = 1 << 16
_MAX_VOCABULARY: Final = 1 << 24
_MAX_EXPERTS: Final = 1 << 16
_MAX_VIEWS: Final = 64
_MAX_PARTS: Final = 1 << 14
# The keys of one layer and token, over all heads: far above every model, and still so small that
# no sum over layers, slots and tokens leaves what other programs can count to.
_MAX_KEY_WIDTH: Final = 1 << 20
_MAX_WEIGHTS: Final = 1 << 48
# Of a number below zero, or of none at all, the engine aborts at its first token: measured.
_EPSILONS: Final = tuple(
    f"attention.{kind}_epsilon" for kind in ("layer_norm", "layer_norm_rms", "group_norm")
)
_LENGTHS: Final = ("key_length", "value_length", "key_length_swa", "value_length_swa")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is decided by: None where the header is silent.

    kv_heads are the heads that a layer keeps, layer by layer; of the sliding ones only the window
    is kept. expanded_key_length is there where keys are kept pressed, and values not at all.
    side_length is what a token carries beside the width of the model. weights_exact is False where
    a tensor is of a type that is not known here or lies in another part of a split model.
    """

    architecture: str
    name: str | None = None
    file_type: str | None = None
    trained_ctx: int | None = None
    blocks: int | None = None
    embedding_length: int | None = None
    head_count: int | None = None
    kv_heads: tuple[int, ...] = ()
    key_length: int | None = None
    value_length: int | None = None
    expanded_key_length: int | None = None
    feed_forward_length: int | None = None
    has_dense_layers: bool = True
    vocab_size: int | None = None
    sliding_window: int | None = None
    sliding: tuple[bool, ...] = ()
    sliding_key_length: int | None = None
    sliding_value_length: int | None = None
    recurrent_blocks: int = 0
    state: State | None = None
    expert_count: int | None = None
    expert_used_count: int | None = None
    expert_length: int | None = None
    side_length: int = 0
    parameters: int | None = None
    weights_bytes: int = 0
    weights_exact: bool = True
    layer_bytes: tuple[int, ...] = ()
    expert_bytes: int = 0
    embedding_bytes: int = 0
    output_bytes: int = 0
    needed_file_bytes: int = 0
    has_chat_template: bool = False
    tensor_count: int = 0
    split_count: int = 1

    @property
    def sliding_blocks(self) -> int:
        """How many layers look back no further than the window."""
        return sum(self.sliding)

    @property
    def rules_known(self) -> bool:
        """Whether what the model keeps of a context follows from these facts for certain."""
        if self.architecture not in KNOWN or (self.recurrent_blocks > 0 and self.state is None):
            return False
        rule = SLIDING.get(self.architecture)
        has_window = self.sliding_window is not None
        return has_window or rule is None or not rule.needs_window(self.blocks)


def facts_of(header: Header, *, file_bytes: int | None = None) -> ModelFacts | Damaged:
    """Judge a header; the file's size stands in where a tensor's size cannot be known."""
    architecture = header.values.get("general.architecture")
    part = header.values.get("split.no")
    if isinstance(part, int) and part > 0:
        return Damaged("it is a later part of a split model: name its first part instead")
    if not isinstance(architecture, str) or not architecture:
        return Damaged("the header names no model architecture")
    if not _ARCHITECTURE.fullmatch(architecture):
        return Damaged("the header's model architecture is no name: it is damaged")
    try:
        return _facts(header, Keys(header.values, architecture), file_bytes)
    except RangeError as error:
        return Damaged(f"the header claims {error}: it is damaged")


def _facts(header: Header, keys: Keys, file_bytes: int | None) -> ModelFacts:
    _check_epsilons(keys)
    blocks = keys.whole("block_count", 1, _MAX_BLOCKS)
    width = keys.whole("embedding_length", 1, _MAX_WIDTH)
    heads = keys.whole("attention.head_count", 0, MAX_HEADS)
    per_head = width // heads if width and heads else None
    key_length = _head_length(keys, "key_length") or per_head
    attention = attention_of(keys, blocks)
    weights = weights_of(header, blocks, file_bytes)
    _check_sizes(keys, max(*attention.kv_heads, heads or 0, 1), key_length, weights)
    parts = keys.whole("split.count", 0, _MAX_PARTS, general=True) or 1
    return ModelFacts(
        architecture=keys.architecture,
        name=_printable(header.values.get("general.name")),
        file_type=_file_type(header.values.get("general.file_type")),
        trained_ctx=keys.whole("context_length", 1, _MAX_CTX),
        blocks=blocks,
        embedding_length=width,
        head_count=heads,
        kv_heads=attention.kv_heads,
        key_length=key_length,
        value_length=_head_length(keys, "value_length") or per_head,
        expanded_key_length=_expanded(keys),
        feed_forward_length=keys.whole("feed_forward_length", 0, _MAX_WIDTH),
        has_dense_layers=keys.whole("interleave_moe_layer_step", 0, _MAX_BLOCKS) != 1,
        vocab_size=_vocab_size(header, keys),
        sliding_window=attention.sliding_window,
        sliding=attention.sliding,
        sliding_key_length=_head_length(keys, "key_length_swa"),
        sliding_value_length=_head_length(keys, "value_length_swa"),
        recurrent_blocks=attention.recurrent_blocks,
        state=state_of(keys, attention.recurrent_blocks, width, key_length),
        expert_count=keys.whole("expert_count", 0, _MAX_EXPERTS),
        expert_used_count=keys.whole("expert_used_count", 0, _MAX_EXPERTS),
        expert_length=keys.whole("expert_feed_forward_length", 0, _MAX_WIDTH),
        side_length=_side_length(keys, blocks, width),
        parameters=weights.parameters if header.tensors and parts == 1 else None,
        weights_bytes=weights.total_bytes,
        weights_exact=weights.are_exact and parts == 1,
        layer_bytes=weights.layer_bytes,
        expert_bytes=weights.expert_bytes,
        embedding_bytes=weights.embedding_bytes,
        output_bytes=weights.output_bytes,
        needed_file_bytes=header.data_offset
        + max((it.offset + (it.size_bytes or 0) for it in header.tensors), default=0),
        has_chat_template="tokenizer.chat_template" in header.values,
        tensor_count=len(header.tensors),
        split_count=parts,
    )


def _head_length(keys: Keys, name: str) -> int | None:
    return keys.whole(f"attention.{name}", 1, _MAX_HEAD_LENGTH)


def _expanded(keys: Keys) -> int | None:
    key, value = _head_length(keys, "key_length_mla"), _head_length(keys, "value_length_mla")
    # The engine goes by both or by neither.
    return key if value is not None else None


def _side_length(keys: Keys, blocks: int | None, width: int | None) -> int:
    """Inputs that each layer has of its own, and further views of the text."""
    own = keys.whole("embedding_length_per_layer_input", 0, _MAX_WIDTH) or 0
    views = keys.whole("altup.num_inputs", 0, _MAX_VIEWS) or 0
    return own * (blocks or 0) + 2 * views * (width or 0)


def _check_epsilons(keys: Keys) -> None:
    for name in _EPSILONS:
        value = keys.value(name)
        if isinstance(value, (int, float)) and not 0 <= value < math.inf:
            raise RangeError(f"{value} as {keys.key(name)}")


def _check_sizes(keys: Keys, heads: int, key_length: int | None, weights: Weights) -> None:
    """What is sound number by number may be absurd as a product."""
    lengths = (_head_length(keys, name) for name in _LENGTHS)
    longest = max(key_length or 0, *(length or 0 for length in lengths))
    if heads * longest > _MAX_KEY_WIDTH:
        raise RangeError(f"{heads} heads of {longest} numbers each")
    if weights.total_bytes > _MAX_WEIGHTS:
        raise RangeError(f"weights of {weights.total_bytes} bytes")


def _vocab_size(header: Header, keys: Keys) -> int | None:
    told = keys.whole("vocab_size", 0, _MAX_VOCABULARY)
    if told:
        return told
    tokens = header.values.get("tokenizer.ggml.tokens")
    return tokens.length if isinstance(tokens, Items) else None


def _file_type(value: Value) -> str | None:
    return FILE_TYPES.get(value) if isinstance(value, int) else None


def _printable(value: Value) -> str | None:
    if not isinstance(value, str):
        return None
    shown = "".join(letter for letter in value if letter.isprintable()).strip()
    return shown[:_MAX_NAME] or None
