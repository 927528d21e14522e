"""Lists the tensors of models whose layers, all or some of them, keep a state instead of a cache."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from . import blocks  # noqa: TID252 - tools are no package that has a name

__all__ = ["LAYOUTS"]

Shape: TypeAlias = blocks.Shape
Tensor: TypeAlias = blocks.Tensor
weight, plain, norm, frame = blocks.weight, blocks.plain, blocks.norm, blocks.frame
attention, dense, experts, shared = blocks.attention, blocks.dense, blocks.experts, blocks.shared
mamba_block, mamba2_block = blocks.mamba_block, blocks.mamba2_block
delta_block = blocks.delta_block


def recurrent(
    block_of: Callable[[Shape, str], Iterator[Tensor]],
) -> Callable[..., Iterator[Tensor]]:
    def tensors(s: Shape) -> Iterator[Tensor]:
        yield from frame(s, tied=True)
        for block in range(s.blocks):
            yield norm(f"blk.{block}.attn_norm", s.width)
            yield from block_of(s, f"blk.{block}")

    return tensors


def granite_hybrid(s: Shape) -> Iterator[Tensor]:
    yield from frame(s, tied=True)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield from attention(s, at, block) if s.kv_heads(block) else mamba2_block(s, at)
        yield from experts(s, at, s.inner)
        yield from shared(s, at, s.number("expert_shared_feed_forward_length"))


def jamba(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield from attention(s, at, block) if s.kv_heads(block) else mamba_block(s, at, norms=True)
        yield from experts(s, at, s.inner) if block % 2 else dense(s, at)


def falcon_h1(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield plain(f"{at}.ffn_norm", s.width)
        yield from attention(s, at, block)
        yield from mamba2_block(s, at, with_norm=False)
        yield from dense(s, at)


def lfm2(s: Shape) -> Iterator[Tensor]:
    yield from frame(s, tied=True, last_norm="token_embd_norm")
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        if s.kv_heads(block):
            yield from attention(s, at, block, norms=True)
        else:
            yield plain(f"{at}.shortconv.conv.weight", s.number("shortconv.l_cache"), s.width)
            yield weight(f"{at}.shortconv.in_proj", s.width, 3 * s.width)
            yield weight(f"{at}.shortconv.out_proj", s.width, s.width)
        yield from dense(s, at)


def mixed(s: Shape, *, joined: bool) -> Iterator[Tensor]:
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.post_attention_norm", s.width)
        whole = (block + 1) % s.number("full_attention_interval") == 0
        gated = attention(s, at, block, norms=True, gated=True)
        yield from gated if whole else delta_block(s, at, joined=joined)


def qwen3next(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    yield from mixed(s, joined=True)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield from experts(s, at, s.number("expert_feed_forward_length"))
        yield plain(f"{at}.ffn_gate_inp_shexp.weight", s.width)
        yield from shared(s, at, s.number("expert_shared_feed_forward_length"))


def qwen35(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    yield from mixed(s, joined=False)
    for block in range(s.blocks):
        yield from dense(s, f"blk.{block}")


def nemotron_h(s: Shape) -> Iterator[Tensor]:
    inner = s.values["feed_forward_length"]
    assert isinstance(inner, list)
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        if inner[block]:
            yield weight(f"{at}.ffn_up", s.width, s.inner)
            yield weight(f"{at}.ffn_down", s.inner, s.width)
        elif s.kv_heads(block):
            yield from attention(s, at, block)
        else:
            yield from mamba2_block(s, at)


def kimi_linear(s: Shape) -> Iterator[Tensor]:
    rank, rope = s.number("attention.kv_lora_rank"), s.number("rope.dimension_count")
    key, value = s.number("attention.key_length_mla"), s.number("attention.value_length_mla")
    length, inner = s.number("kda.head_dim"), s.number("expert_feed_forward_length")
    wide = s.heads * length
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        if s.kv_heads(block):
            yield norm(f"{at}.attn_kv_a_norm", rank)
            yield weight(f"{at}.attn_q", s.width, s.heads * key)
            yield weight(f"{at}.attn_kv_a_mqa", s.width, rank + rope)
            yield weight(f"{at}.attn_k_b", key - rope, rank, s.heads)
            yield weight(f"{at}.attn_v_b", rank, value, s.heads)
            yield weight(f"{at}.attn_output", s.heads * value, s.width)
        else:
            for name in "qkv":
                yield plain(f"{at}.ssm_conv1d_{name}.weight", s.number("ssm.conv_kernel"), 1, wide)
                yield weight(f"{at}.attn_{name}", s.width, wide)
            for name in "fg":
                yield weight(f"{at}.ssm_{name}_a", s.width, length)
                yield weight(f"{at}.ssm_{name}_b", length, wide)
            yield weight(f"{at}.ssm_beta", s.width, s.heads)
            yield plain(f"{at}.ssm_a", 1, s.heads)
            yield plain(f"{at}.ssm_dt.bias", wide)
            yield norm(f"{at}.ssm_norm", length)
            yield weight(f"{at}.attn_output", wide, s.width)
        if block < s.number("leading_dense_block_count"):
            yield from dense(s, at)
        else:
            yield from experts(s, at, inner)
            yield plain(f"{at}.exp_probs_b.bias", s.experts)
            yield from shared(s, at, inner * s.number("expert_shared_count"))


def rwkv7(s: Shape) -> Iterator[Tensor]:
    ranks = {
        "w": s.number("attention.decay_lora_rank"),
        "a": s.number("attention.iclr_lora_rank"),
        "v": s.number("attention.value_residual_mix_lora_rank"),
        "g": s.number("attention.gate_lora_rank"),
    }
    yield from frame(s)
    yield plain("output_norm.bias", s.width)
    yield norm("token_embd_norm", s.width)
    yield plain("token_embd_norm.bias", s.width)
    for block in range(s.blocks):
        at = f"blk.{block}"
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            yield norm(f"{at}.{name}", s.width)
            yield plain(f"{at}.{name}.bias", s.width)
        for name, rank in ranks.items():
            # The first layer has no earlier values to mix in.
            inner = ranks["a"] if name == "v" and block == 0 else rank
            if name != "g":
                yield norm(f"{at}.time_mix_{name}0", s.width)
            yield weight(f"{at}.time_mix_{name}1", s.width, inner)
            yield weight(f"{at}.time_mix_{name}2", inner, s.width)
        yield plain(f"{at}.time_mix_lerp_fused.weight", s.width, 1, 1, 6)
        for name in ("k_k", "k_a", "r_k"):
            yield norm(f"{at}.time_mix_{name}", s.width)
        for name in ("key", "value", "receptance", "output"):
            yield weight(f"{at}.time_mix_{name}", s.width, s.width)
        yield plain(f"{at}.channel_mix_lerp_k.weight", s.width, 1, 1)
        yield weight(f"{at}.channel_mix_key", s.width, s.inner)
        yield weight(f"{at}.channel_mix_value", s.inner, s.width)


LAYOUTS: dict[str, Callable[[Shape], Iterator[Tensor]]] = {
    "falcon-h1": falcon_h1,
    "granitehybrid": granite_hybrid,
    "jamba": jamba,
    "kimi-linear": kimi_linear,
    "lfm2": lfm2,
    "mamba": recurrent(mamba_block),
    "mamba2": recurrent(mamba2_block),
    "nemotron_h": nemotron_h,
    "qwen35": qwen35,
    "qwen3next": qwen3next,
    "rwkv7": rwkv7,
}
"""The tensors of such a model, by the name of its layout."""
