"""Lists the tensors that the engine wants of a model, architecture by architecture."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from . import blocks, recurrent  # noqa: TID252 - tools are no package that has a name

__all__ = ["LAYOUTS"]

Shape: TypeAlias = blocks.Shape
Tensor: TypeAlias = blocks.Tensor
weight, plain, norm, frame = blocks.weight, blocks.plain, blocks.norm, blocks.frame
attention, dense, experts, shared = blocks.attention, blocks.dense, blocks.experts, blocks.shared


def usual(
    *,
    tied: bool = False,
    bias: bool = False,
    norms: bool = False,
    post: bool = False,
    second_norm: bool = True,
) -> Callable[[Shape], Iterator[Tensor]]:
    """Attention and one dense part in each layer, as most models have it."""

    def tensors(s: Shape) -> Iterator[Tensor]:
        yield from frame(s, tied=tied)
        for block in range(s.blocks):
            at = f"blk.{block}"
            yield norm(f"{at}.attn_norm", s.width)
            if second_norm:
                yield norm(f"{at}.ffn_norm", s.width)
            if post:
                yield norm(f"{at}.post_attention_norm", s.width)
                yield norm(f"{at}.post_ffw_norm", s.width)
            yield from attention(s, at, block, bias=bias, norms=norms)
            yield from dense(s, at)

    return tensors


def phi3(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield weight(f"{at}.attn_qkv", s.width, (s.heads + 2 * s.kv_heads(block)) * s.key)
        yield weight(f"{at}.attn_output", s.width, s.width)
        yield weight(f"{at}.ffn_up", s.width, 2 * s.inner)
        yield weight(f"{at}.ffn_down", s.inner, s.width)


def qwen3moe(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield from attention(s, at, block, norms=True)
        yield from experts(s, at, s.number("expert_feed_forward_length"))


def gpt_oss(s: Shape) -> Iterator[Tensor]:
    inner = s.number("expert_feed_forward_length")
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.post_attention_norm", s.width)
        yield from attention(s, at, block, bias=True)
        yield plain(f"{at}.attn_output.bias", s.width)
        yield norm(f"{at}.attn_sinks", s.heads)
        yield from experts(s, at, inner)
        yield plain(f"{at}.ffn_gate_inp.bias", s.experts)
        yield plain(f"{at}.ffn_gate_exps.bias", inner, s.experts)
        yield plain(f"{at}.ffn_up_exps.bias", inner, s.experts)
        yield plain(f"{at}.ffn_down_exps.bias", s.width, s.experts)


def deepseek2(s: Shape) -> Iterator[Tensor]:
    rank, rope = s.number("attention.kv_lora_rank"), s.number("rope.dimension_count")
    key, value = s.number("attention.key_length_mla"), s.number("attention.value_length_mla")
    inner = s.number("expert_feed_forward_length")
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield norm(f"{at}.attn_kv_a_norm", rank)
        if rank_q := s.number("attention.q_lora_rank", 0):
            yield weight(f"{at}.attn_q_a", s.width, rank_q)
            yield norm(f"{at}.attn_q_a_norm", rank_q)
            yield weight(f"{at}.attn_q_b", rank_q, s.heads * key)
        else:
            yield weight(f"{at}.attn_q", s.width, s.heads * key)
        yield weight(f"{at}.attn_kv_a_mqa", s.width, rank + rope)
        yield weight(f"{at}.attn_k_b", key - rope, rank, s.heads)
        yield weight(f"{at}.attn_v_b", rank, value, s.heads)
        yield weight(f"{at}.attn_output", s.heads * value, s.width)
        if block < s.number("leading_dense_block_count"):
            yield from dense(s, at)
        else:
            yield from experts(s, at, inner)
            yield from shared(s, at, inner * s.number("expert_shared_count"))


def gemma3n(s: Shape) -> Iterator[Tensor]:
    views, small = s.number("altup.num_inputs"), s.number("embedding_length_per_layer_input")
    yield from frame(s, tied=True)
    yield weight("per_layer_token_embd", small * s.blocks, s.vocab)
    yield weight("altup_proj", s.width, s.width, views - 1)
    yield weight("altup_unembd_proj", s.width, s.width, views - 1)
    yield weight("per_layer_model_proj", s.width, small * s.blocks)
    yield norm("per_layer_proj_norm", small)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield from attention(s, at, block, norms=True)
        yield from dense(s, at)
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"):
            yield norm(f"{at}.{name}", s.width)
        yield weight(f"{at}.inp_gate", s.width, small)
        yield weight(f"{at}.proj", small, s.width)
        yield plain(f"{at}.altup_correct_coef.weight", views, views)
        yield norm(f"{at}.altup_correct_scale", s.width)
        yield plain(f"{at}.altup_predict_coef.weight", views, views * views)
        yield plain(f"{at}.altup_router.weight", s.width, views)
        yield norm(f"{at}.altup_router_norm", s.width)
        yield weight(f"{at}.laurel_l", s.width, 64)
        yield weight(f"{at}.laurel_r", 64, s.width)
        yield norm(f"{at}.laurel_post_norm", s.width)


def gemma4(s: Shape) -> Iterator[Tensor]:
    small, own = (
        s.number("embedding_length_per_layer_input"),
        s.blocks - s.number("attention.shared_kv_layers"),
    )
    slides = s.values["attention.sliding_window_pattern"]
    assert isinstance(slides, list)
    yield from frame(s, tied=True)
    yield weight("per_layer_token_embd", small * s.blocks, s.vocab)
    yield weight("per_layer_model_proj", s.width, small * s.blocks)
    yield norm("per_layer_proj_norm", small)
    yield norm("rope_freqs", s.key // 2)
    for block in range(s.blocks):
        at = f"blk.{block}"
        length = s.number("attention.key_length_swa") if slides[block] else s.key
        yield weight(f"{at}.attn_q", s.width, s.heads * length)
        yield weight(f"{at}.attn_output", s.heads * length, s.width)
        yield norm(f"{at}.attn_q_norm", length)
        if block < own:
            yield weight(f"{at}.attn_k", s.width, s.kv_heads(block) * length)
            yield weight(f"{at}.attn_v", s.width, s.kv_heads(block) * length)
            yield norm(f"{at}.attn_k_norm", length)
        yield from dense(s, at)
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"):
            yield norm(f"{at}.{name}", s.width)
        yield weight(f"{at}.inp_gate", s.width, small)
        yield weight(f"{at}.proj", small, s.width)


def olmo2(s: Shape) -> Iterator[Tensor]:
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield from attention(s, at, block)
        yield norm(f"{at}.attn_q_norm", s.width)
        yield norm(f"{at}.attn_k_norm", s.kv_heads(block) * s.key)
        yield norm(f"{at}.post_attention_norm", s.width)
        yield norm(f"{at}.post_ffw_norm", s.width)
        yield from dense(s, at)


def glm4moe(s: Shape) -> Iterator[Tensor]:
    inner = s.number("expert_feed_forward_length")
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.post_attention_norm", s.width)
        yield from attention(s, at, block, bias=True)
        if block < s.number("leading_dense_block_count"):
            yield from dense(s, at)
        else:
            yield from experts(s, at, inner)
            yield plain(f"{at}.exp_probs_b.bias", s.experts)
            yield from shared(s, at, inner * s.number("expert_shared_count"))
        if block >= s.blocks - s.number("nextn_predict_layers"):
            yield weight(f"{at}.nextn.eh_proj", 2 * s.width, s.width)
            yield norm(f"{at}.nextn.enorm", s.width)
            yield norm(f"{at}.nextn.hnorm", s.width)


def llama4(s: Shape) -> Iterator[Tensor]:
    inner = s.number("expert_feed_forward_length")
    yield from frame(s)
    for block in range(s.blocks):
        at = f"blk.{block}"
        yield norm(f"{at}.attn_norm", s.width)
        yield norm(f"{at}.ffn_norm", s.width)
        yield from attention(s, at, block)
        yield from experts(s, at, inner)
        yield from shared(s, at, inner)


def bert(s: Shape) -> Iterator[Tensor]:
    yield weight("token_embd", s.width, s.vocab)
    yield plain("token_types.weight", s.width, 2)
    yield plain("position_embd.weight", s.width, s.number("context_length"))
    yield norm("token_embd_norm", s.width)
    yield plain("token_embd_norm.bias", s.width)
    for block in range(s.blocks):
        at = f"blk.{block}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield weight(f"{at}.{name}", s.width, s.width)
            yield plain(f"{at}.{name}.bias", s.width)
        for name in ("attn_output_norm", "layer_output_norm"):
            yield norm(f"{at}.{name}", s.width)
            yield plain(f"{at}.{name}.bias", s.width)
        yield weight(f"{at}.ffn_up", s.width, s.inner)
        yield plain(f"{at}.ffn_up.bias", s.inner)
        yield weight(f"{at}.ffn_down", s.inner, s.width)
        yield plain(f"{at}.ffn_down.bias", s.width)


LAYOUTS: dict[str, Callable[[Shape], Iterator[Tensor]]] = {
    "usual": usual(),
    "tied": usual(tied=True),
    "biased": usual(bias=True),
    "normed tied": usual(tied=True, norms=True),
    "post tied": usual(tied=True, post=True),
    "normed post tied": usual(tied=True, norms=True, post=True),
    "one norm tied": usual(tied=True, second_norm=False),
    "bert": bert,
    "deepseek2": deepseek2,
    "gemma3n": gemma3n,
    "gemma4": gemma4,
    "glm4moe": glm4moe,
    "gpt-oss": gpt_oss,
    "llama4": llama4,
    "olmo2": olmo2,
    "phi3": phi3,
    "qwen3moe": qwen3moe,
    **recurrent.LAYOUTS,
}
"""The tensors of a model, by the name of its layout."""
