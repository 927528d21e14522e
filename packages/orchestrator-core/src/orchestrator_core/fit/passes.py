"""What a pass through a model takes while it computes: its widest moment and its masks. Pure.

The widths were read off the engine's own buffers, architecture by architecture; a golden for each
holds them fast.
"""

from typing import Final

from orchestrator_core.fit.caches import cells_of, window_cells
from orchestrator_core.fit.shape import ModelShape

__all__ = ["output_bytes", "pass_bytes"]

_FLOAT_BYTES: Final = 4
_MASK_BYTES: Final = 2
# What stays of a token through a layer: the input, the stream, and copies of both.
_STREAMS: Final = 5
# Its places in the text, in the caches and in the output.
_PLACES: Final = 16
# One stream more: attention and feed-forward part read the same input, or experts a scaled one.
_WIDER: Final = frozenset(
    ["cohere2", "cohere2moe", "command-r", "falcon", "gptneox", "llama4", "phi2"]
)
# Nothing is multiplied with the inner width, which therefore is there only once.
_UNGATED: Final = frozenset(
    [
        "bert",
        "bloom",
        "codeshell",
        "falcon",
        "gpt2",
        "gptj",
        "gptneox",
        "jais",
        "mpt",
        "nemotron",
        "nemotron_h",
        "nemotron_h_moe",
        "phi2",
        "starcoder",
        "starcoder2",
    ]
)
# With these, a worker for vectors computes no scores of tokens.
_NO_SCORES: Final = frozenset(
    [
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "lfm2",
        "lfm2moe",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
    ]
)


def pass_bytes(shape: ModelShape, *, ctx: int, parallel: int, tokens: int, embeds: bool) -> int:
    """The buffer of a pass over so many tokens; for vectors each of them has an output."""
    streams = _STREAMS + (shape.architecture in _WIDER)
    resident = streams * (shape.embedding_length or 0) + _PLACES
    layer = max(_dense(shape), _experts(shape), _attention(shape)) + shape.side_length
    moments = [tokens * layer, _recurrent(shape, tokens, parallel)]
    if embeds and shape.architecture not in _NO_SCORES:
        moments.append(tokens * (shape.vocab_size or 0))
    floats = tokens * resident + max(moments)
    return _FLOAT_BYTES * floats + _masks(shape, ctx, tokens)


def output_bytes(shape: ModelShape, *, parallel: int) -> int:
    """The scores of all tokens, once for each slot."""
    return _FLOAT_BYTES * parallel * (shape.vocab_size or 0)


def _dense(shape: ModelShape) -> int:
    inner = (shape.feed_forward_length or 0) if shape.has_dense_layers else 0
    if shape.architecture in _UNGATED:
        return inner + (shape.embedding_length or 0)
    return 3 * inner


def _experts(shape: ModelShape) -> int:
    """Inside all experts of a token; outputs come on top where no inner width holds them."""
    used = shape.expert_used_count or 0
    inner = used * (shape.expert_length or shape.feed_forward_length or 0)
    outer = used * (shape.embedding_length or 0)
    if outer <= inner or 2 * inner + outer <= _dense(shape):
        return 3 * inner
    return 3 * inner + outer


def _recurrent(shape: ModelShape, tokens: int, parallel: int) -> int:
    """The state is read from the cache, and written back to it at the end."""
    if shape.state is None:
        return 0
    return tokens * 5 * shape.state.inner_length + 2 * shape.state.held_elements * parallel


def _attention(shape: ModelShape) -> int:
    """Queries and what they become, beside the keys and values of the same tokens."""
    heads, key = shape.head_count or 0, shape.key_length or 0
    queries, kept = heads * key, max(shape.kv_heads, default=0) * key
    if shape.expanded_key_length is not None:
        return 2 * queries + heads * shape.expanded_key_length
    return max(2 * queries, queries + 3 * kept)


def _masks(shape: ModelShape, ctx: int, tokens: int) -> int:
    """Who may look at whom, once for the whole context and once for the window."""
    if not any(shape.kv_heads):
        # Without a cache the tokens of the batch look at each other.
        return _MASK_BYTES * tokens * tokens if shape.state is None else 0
    slides = [*shape.sliding, *(False for _ in shape.kv_heads[len(shape.sliding) :])]
    cells = 0 if all(slides) else cells_of(ctx)
    if any(slides):
        cells += window_cells(shape, ctx, tokens)
    return _MASK_BYTES * tokens * cells
