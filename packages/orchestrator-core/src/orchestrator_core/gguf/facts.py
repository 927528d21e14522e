"""What a header says about its model, each number within the range that an engine survives.

Takes a parsed header; fit, the catalogue of a host and the worker's own checks read the facts.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_core.gguf.header import Damaged, Header, Items, Value
from orchestrator_core.gguf.tensor_types import FILE_TYPES

__all__ = ["ModelFacts", "facts_of"]

_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_NAME: Final = 128
# More layers than this make the engine abort instead of refusing the file: measured.
_MAX_BLOCKS: Final = 512
_MAX_CTX: Final = 1 << 30
_MAX_WIDTH: Final = 1 << 20
_MAX_HEADS: Final = 1 << 14
_MAX_HEAD_LENGTH: Final = 1 << 16
_MAX_VOCABULARY: Final = 1 << 24
_MAX_EXPERTS: Final = 1 << 16
_MAX_PARTS: Final = 1 << 14
# Of a number below zero, or of none at all, the engine aborts at its first token: measured.
_EPSILONS: Final = tuple(
    f"attention.{kind}_epsilon" for kind in ("layer_norm", "layer_norm_rms", "group_norm")
)
# Of so many layers in a row only the last one looks at the whole context, unless the file tells.
_SLIDING_GROUPS: Final = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is decided by: None where the header is silent.

    weights_exact is False where a tensor is of a type that is not known here or lies in another
    part of a split model. sliding_blocks counts the layers that see only the sliding window.
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
    feed_forward_length: int | None = None
    vocab_size: int | None = None
    sliding_window: int | None = None
    sliding_blocks: int = 0
    expert_count: int | None = None
    weights_bytes: int = 0
    weights_exact: bool = True
    embedding_bytes: int = 0
    output_bytes: int = 0
    needed_file_bytes: int = 0
    has_chat_template: bool = False
    tensor_count: int = 0
    split_count: int = 1


class _RangeError(Exception):
    """A number that no sound header holds."""


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
        return _facts(header, architecture, file_bytes)
    except _RangeError as error:
        return Damaged(f"the header claims {error}: it is damaged")


def _facts(header: Header, architecture: str, file_bytes: int | None) -> ModelFacts:
    keys = _Keys(header.values, architecture)
    _check_epsilons(keys)
    blocks = keys.whole("block_count", 1, _MAX_BLOCKS)
    width = keys.whole("embedding_length", 1, _MAX_WIDTH)
    heads = keys.whole("attention.head_count", 0, _MAX_HEADS)
    per_head = width // heads if width and heads else None
    window = keys.whole("attention.sliding_window", 0, _MAX_CTX)
    sizes = {tensor.name: tensor.size_bytes or 0 for tensor in header.tensors}
    weights_bytes, are_known = _weights(header, file_bytes)
    parts = keys.whole("split.count", 0, _MAX_PARTS, general=True) or 1
    return ModelFacts(
        architecture=architecture,
        name=_printable(header.values.get("general.name")),
        file_type=_file_type(header.values.get("general.file_type")),
        trained_ctx=keys.whole("context_length", 1, _MAX_CTX),
        blocks=blocks,
        embedding_length=width,
        head_count=heads,
        kv_heads=_kv_heads(keys, blocks),
        key_length=keys.whole("attention.key_length", 1, _MAX_HEAD_LENGTH) or per_head,
        value_length=keys.whole("attention.value_length", 1, _MAX_HEAD_LENGTH) or per_head,
        feed_forward_length=keys.whole("feed_forward_length", 0, _MAX_WIDTH),
        vocab_size=_vocab_size(header, keys),
        sliding_window=window or None,
        sliding_blocks=_sliding_blocks(keys, architecture, blocks) if window else 0,
        expert_count=keys.whole("expert_count", 0, _MAX_EXPERTS),
        weights_bytes=weights_bytes,
        weights_exact=are_known and parts == 1,
        embedding_bytes=sizes.get("token_embd.weight", 0),
        output_bytes=sizes.get("output.weight", 0),
        needed_file_bytes=header.data_offset
        + max((it.offset + (it.size_bytes or 0) for it in header.tensors), default=0),
        has_chat_template="tokenizer.chat_template" in header.values,
        tensor_count=len(header.tensors),
        split_count=parts,
    )


class _Keys:
    """The numbers under a model's own keys."""

    def __init__(self, values: Mapping[str, Value], architecture: str) -> None:
        self._values = values
        self._architecture = architecture

    def key(self, name: str) -> str:
        return f"{self._architecture}.{name}"

    def value(self, name: str) -> Value:
        return self._values.get(self.key(name))

    def whole(self, name: str, low: int, high: int, *, general: bool = False) -> int | None:
        """A number in its range, the largest one of a list, or None where there is none."""
        key = name if general else self.key(name)
        value = self._values.get(key)
        if value is None:
            return None
        numbers = (value.numbers or ()) if isinstance(value, Items) else (value,)
        return max((_ranged(key, number, low, high) for number in numbers), default=None)

    def per_block(self, name: str, blocks: int, low: int, high: int) -> tuple[int, ...] | None:
        """A number for each layer, whether the header gives one for all or one for each."""
        value = self.value(name)
        if value is None:
            return None
        key = self.key(name)
        if not isinstance(value, Items):
            return (_ranged(key, value, low, high),) * blocks
        if value.numbers is None or value.length < blocks:
            raise _RangeError(f"{value.length} values of {key} for {blocks} layers")
        return tuple(_ranged(key, number, low, high) for number in value.numbers[:blocks])


def _ranged(key: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RangeError(f"that {key} is no whole number")
    if not low <= value <= high:
        raise _RangeError(f"{value} as {key}")
    return value


def _check_epsilons(keys: _Keys) -> None:
    for name in _EPSILONS:
        value = keys.value(name)
        if isinstance(value, (int, float)) and not 0 <= value < math.inf:
            raise _RangeError(f"{value} as {keys.key(name)}")


def _kv_heads(keys: _Keys, blocks: int | None) -> tuple[int, ...]:
    if blocks is None:
        return ()
    own = keys.per_block("attention.head_count_kv", blocks, 0, _MAX_HEADS)
    return own or keys.per_block("attention.head_count", blocks, 0, _MAX_HEADS) or ()


def _sliding_blocks(keys: _Keys, architecture: str, blocks: int | None) -> int:
    if blocks is None:
        return 0
    pattern = keys.value("attention.sliding_window_pattern")
    if isinstance(pattern, Items):
        return sum(1 for slides in (pattern.numbers or ())[:blocks] if slides)
    group = pattern if isinstance(pattern, int) else _SLIDING_GROUPS.get(architecture)
    return blocks - blocks // group if group is not None and group > 0 else 0


def _vocab_size(header: Header, keys: _Keys) -> int | None:
    told = keys.whole("vocab_size", 0, _MAX_VOCABULARY)
    if told:
        return told
    tokens = header.values.get("tokenizer.ggml.tokens")
    return tokens.length if isinstance(tokens, Items) else None


def _weights(header: Header, file_bytes: int | None) -> tuple[int, bool]:
    known = [tensor.size_bytes for tensor in header.tensors if tensor.size_bytes is not None]
    if len(known) == len(header.tensors):
        return sum(known), True
    if file_bytes is None:
        return sum(known), False
    return max(sum(known), file_bytes - header.data_offset), False


def _file_type(value: Value) -> str | None:
    return FILE_TYPES.get(value) if isinstance(value, int) else None


def _printable(value: Value) -> str | None:
    if not isinstance(value, str):
        return None
    shown = "".join(letter for letter in value if letter.isprintable()).strip()
    return shown[:_MAX_NAME] or None
