"""The tensors of which models are made, part by part: names, shapes and types, but no weights.

Takes the values of a header; the layouts put the parts together.
"""

from collections.abc import Iterator
from typing import TypeAlias

__all__ = [
    "Shape",
    "Tensor",
    "Value",
    "attention",
    "delta_block",
    "dense",
    "experts",
    "frame",
    "mamba2_block",
    "mamba_block",
    "norm",
    "plain",
    "shared",
    "weight",
]

Value: TypeAlias = "bool | int | float | str | list[bool] | list[int]"
Tensor: TypeAlias = tuple[str, tuple[int, ...], str]
"""Name, shape, and type: Q8_0 for what is multiplied by, F32 for the rest."""


class Shape:
    """The values of a model under short names, for the functions that list tensors."""

    def __init__(self, values: dict[str, Value]) -> None:
        self.values = values
        self.blocks = self.number("block_count")
        self.width = self.number("embedding_length")
        self.inner = self.number("feed_forward_length", 0)
        self.vocab = self.number("vocab_size")
        self.heads = self.number("attention.head_count", 0)
        self.key = self.number("attention.key_length", self.width // (self.heads or self.width))
        self.value = self.number("attention.value_length", self.key)
        self.experts = self.number("expert_count", 0)

    def number(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name, default)
        if isinstance(value, list):
            return max(value)
        assert isinstance(value, int), name
        return value

    def kv_heads(self, block: int) -> int:
        value = self.values["attention.head_count_kv"]
        return int(value[block]) if isinstance(value, list) else int(value)


def weight(name: str, *shape: int) -> Tensor:
    return f"{name}.weight", shape, "Q8_0"


def plain(name: str, *shape: int) -> Tensor:
    return name, shape, "F32"


def norm(name: str, width: int) -> Tensor:
    return plain(f"{name}.weight", width)


def frame(s: Shape, *, tied: bool = False, last_norm: str = "output_norm") -> Iterator[Tensor]:
    yield weight("token_embd", s.width, s.vocab)
    yield norm(last_norm, s.width)
    if not tied:
        yield weight("output", s.width, s.vocab)


def attention(
    s: Shape, at: str, block: int, *, bias: bool = False, norms: bool = False, gated: bool = False
) -> Iterator[Tensor]:
    query, kept = s.heads * s.key, s.kv_heads(block)
    yield weight(f"{at}.attn_q", s.width, query * (2 if gated else 1))
    yield weight(f"{at}.attn_k", s.width, kept * s.key)
    yield weight(f"{at}.attn_v", s.width, kept * s.value)
    yield weight(f"{at}.attn_output", s.heads * s.value, s.width)
    if bias:
        yield plain(f"{at}.attn_q.bias", query)
        yield plain(f"{at}.attn_k.bias", kept * s.key)
        yield plain(f"{at}.attn_v.bias", kept * s.value)
    if norms:
        yield norm(f"{at}.attn_q_norm", s.key)
        yield norm(f"{at}.attn_k_norm", s.key)


def dense(s: Shape, at: str) -> Iterator[Tensor]:
    yield weight(f"{at}.ffn_gate", s.width, s.inner)
    yield weight(f"{at}.ffn_up", s.width, s.inner)
    yield weight(f"{at}.ffn_down", s.inner, s.width)


def experts(s: Shape, at: str, inner: int) -> Iterator[Tensor]:
    yield plain(f"{at}.ffn_gate_inp.weight", s.width, s.experts)
    yield weight(f"{at}.ffn_gate_exps", s.width, inner, s.experts)
    yield weight(f"{at}.ffn_up_exps", s.width, inner, s.experts)
    yield weight(f"{at}.ffn_down_exps", inner, s.width, s.experts)


def shared(s: Shape, at: str, inner: int) -> Iterator[Tensor]:
    yield weight(f"{at}.ffn_gate_shexp", s.width, inner)
    yield weight(f"{at}.ffn_up_shexp", s.width, inner)
    yield weight(f"{at}.ffn_down_shexp", inner, s.width)


def mamba_block(s: Shape, at: str, *, norms: bool = False) -> Iterator[Tensor]:
    inner, state = s.number("ssm.inner_size"), s.number("ssm.state_size")
    rank = s.number("ssm.time_step_rank")
    yield weight(f"{at}.ssm_in", s.width, 2 * inner)
    yield plain(f"{at}.ssm_conv1d.weight", s.number("ssm.conv_kernel"), inner)
    yield plain(f"{at}.ssm_conv1d.bias", inner)
    yield weight(f"{at}.ssm_x", inner, rank + 2 * state)
    yield plain(f"{at}.ssm_dt.weight", rank, inner)
    yield plain(f"{at}.ssm_dt.bias", inner)
    yield plain(f"{at}.ssm_a", state, inner)
    yield plain(f"{at}.ssm_d", inner)
    yield weight(f"{at}.ssm_out", inner, s.width)
    if norms:
        yield norm(f"{at}.ssm_dt_norm", rank)
        yield norm(f"{at}.ssm_b_norm", state)
        yield norm(f"{at}.ssm_c_norm", state)


def mamba2_block(s: Shape, at: str, *, with_norm: bool = True) -> Iterator[Tensor]:
    inner, state = s.number("ssm.inner_size"), s.number("ssm.state_size")
    groups, heads = s.number("ssm.group_count"), s.number("ssm.time_step_rank")
    turned = inner + 2 * groups * state
    yield weight(f"{at}.ssm_in", s.width, inner + turned + heads)
    yield plain(f"{at}.ssm_conv1d.weight", s.number("ssm.conv_kernel"), turned)
    yield plain(f"{at}.ssm_conv1d.bias", turned)
    yield plain(f"{at}.ssm_dt.bias", heads)
    yield plain(f"{at}.ssm_a", 1, heads)
    yield plain(f"{at}.ssm_d", 1, heads)
    if with_norm:
        yield plain(f"{at}.ssm_norm.weight", inner // groups, groups)
    yield weight(f"{at}.ssm_out", inner, s.width)


def delta_block(s: Shape, at: str, *, joined: bool) -> Iterator[Tensor]:
    state, heads = s.number("ssm.state_size"), s.number("ssm.time_step_rank")
    inner = s.number("ssm.inner_size")
    turned = 2 * state * s.number("ssm.group_count") + inner
    yield weight(f"{at}.attn_qkv", s.width, turned)
    yield weight(f"{at}.attn_gate", s.width, inner)
    yield plain(f"{at}.ssm_conv1d.weight", s.number("ssm.conv_kernel"), turned)
    yield plain(f"{at}.ssm_dt.bias", heads)
    yield plain(f"{at}.ssm_a", heads)
    if joined:
        yield weight(f"{at}.ssm_ba", s.width, 2 * heads)
    else:
        yield weight(f"{at}.ssm_beta", s.width, heads)
        yield weight(f"{at}.ssm_alpha", s.width, heads)
    yield norm(f"{at}.ssm_norm", state)
    yield weight(f"{at}.ssm_out", inner, s.width)
