"""Writes a trained model and its tokenizer as one GGUF file that llama.cpp loads."""

from pathlib import Path

import gguf
from model import EPSILON, ROPE_BASE, Llama
from tokenizer import BOS, IM_END, PAD, SPECIALS, Tokenizer
from torch import Tensor

__all__ = ["TEMPLATE", "export"]

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_QUANTISED = gguf.GGMLQuantizationType.Q8_0


def export(model: Llama, tokenizer: Tokenizer, name: str, path: Path) -> None:
    """Write header, vocabulary and weights; matrices become Q8_0, norms stay as they are."""
    writer = gguf.GGUFWriter(str(path), "llama")
    _write_facts(writer, model, name)
    _write_vocabulary(writer, tokenizer)
    _write_weights(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_facts(writer: gguf.GGUFWriter, model: Llama, name: str) -> None:
    shape = model.shape
    writer.add_name(name)
    writer.add_description("Tiny test model made for this project")
    writer.add_license("project")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_vocab_size(shape.vocabulary)


def _write_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    ordinary = len(tokenizer.tokens) - len(SPECIALS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * len(SPECIALS) + [gguf.TokenType.NORMAL] * ordinary
    )
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(IM_END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE)


def _write_weights(writer: gguf.GGUFWriter, model: Llama) -> None:
    def put(name: str, weight: Tensor) -> None:
        array = weight.detach().float().numpy()
        if array.ndim == 2:
            packed = gguf.quants.quantize(array, _QUANTISED)
            writer.add_tensor(name, packed, raw_dtype=_QUANTISED)
        else:
            writer.add_tensor(name, array)

    put("token_embd.weight", model.emb.weight)
    put("output_norm.weight", model.norm.weight)
    for number, block in enumerate(model.blocks):
        weights = {
            "attn_norm": block.n1.weight,
            "ffn_norm": block.n2.weight,
            "attn_q": block.q.weight,
            "attn_k": block.k.weight,
            "attn_v": block.v.weight,
            "attn_output": block.o.weight,
            "ffn_gate": block.gate.weight,
            "ffn_up": block.up.weight,
            "ffn_down": block.down.weight,
        }
        for name, weight in weights.items():
            put(f"blk.{number}.{name}.weight", weight)
