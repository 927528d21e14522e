from dataclasses import replace

import pytest

from orchestrator_core.fit.estimate import ACCELERATOR_OVERHEAD_BYTES, estimate
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Header, parse_header
from orchestrator_core.gguf.recurrence import State
from orchestrator_core.units import GIB, MIB
from support.worker_process import MODELS

LLAMA_8B = ModelFacts(
    architecture="llama",
    trained_ctx=131_072,
    blocks=32,
    embedding_length=4096,
    head_count=32,
    kv_heads=(8,) * 32,
    key_length=128,
    value_length=128,
    feed_forward_length=14_336,
    vocab_size=128_256,
    weights_bytes=4_920_000_000,
)
GEMMA_12B = replace(
    LLAMA_8B,
    architecture="gemma3",
    blocks=48,
    kv_heads=(8,) * 48,
    key_length=256,
    value_length=256,
    sliding_window=1024,
    sliding=tuple(block % 6 != 5 for block in range(48)),
)


def tiny(name: str) -> ModelFacts:
    header = parse_header((MODELS / f"{name}.gguf").read_bytes())
    assert isinstance(header, Header)
    facts = facts_of(header)
    assert isinstance(facts, ModelFacts)
    return facts


# The largest resident size of a real worker while all its slots answered, in MiB.
MEASURED = [
    ("tiny-chat", 64, 1, 32, 40.7),
    ("tiny-chat", 1024, 1, 256, 43.8),
    ("tiny-chat", 1024, 4, 256, 47.9),
    ("tiny-chat", 1024, 16, 256, 63.5),
    ("tiny-chat", 1024, 64, 256, 123.7),
    ("tiny-chat", 1024, 4, 512, 48.3),
    ("tiny-chat", 1024, 1, 2048, 44.3),
    ("tiny-story", 64, 1, 32, 39.7),
    ("tiny-story", 1024, 1, 256, 41.9),
    ("tiny-story", 1024, 16, 256, 50.4),
    ("tiny-story", 1024, 64, 256, 74.2),
]


@pytest.mark.parametrize(("name", "ctx", "parallel", "batch_size", "measured_mib"), MEASURED)
def test_an_estimate_is_not_below_what_was_measured_and_not_far_above(
    name: str, ctx: int, parallel: int, batch_size: int, measured_mib: float
) -> None:
    need = estimate(tiny(name), ctx=ctx, parallel=parallel, batch_size=batch_size)
    assert measured_mib <= need.total_bytes / MIB <= measured_mib + 40
    assert not need.approximate


@pytest.mark.parametrize(("ctx", "mib"), [(4096, 512), (32_768, 4096)])
def test_the_cache_of_a_plain_model_is_exact(ctx: int, mib: int) -> None:
    assert estimate(LLAMA_8B, ctx=ctx, parallel=1).kv_bytes == mib * MIB


def test_every_slot_has_a_cache_of_its_own_in_whole_groups_of_cells() -> None:
    one = estimate(LLAMA_8B, ctx=1000, parallel=1).kv_bytes
    assert one == estimate(LLAMA_8B, ctx=1024, parallel=1).kv_bytes
    assert estimate(LLAMA_8B, ctx=1000, parallel=3).kv_bytes == 3 * one


def test_a_quantised_cache_is_smaller() -> None:
    both = estimate(LLAMA_8B, ctx=32_768, parallel=1, cache_type_k="q8_0", cache_type_v="q8_0")
    assert both.kv_bytes == 2176 * MIB
    keys = estimate(LLAMA_8B, ctx=32_768, parallel=1, cache_type_k="q4_0")
    assert keys.kv_bytes == (2048 + 576) * MIB


def test_keys_that_do_not_fill_their_last_block_take_it_whole() -> None:
    narrow = replace(LLAMA_8B, kv_heads=(1,), key_length=40, value_length=0)
    need = estimate(narrow, ctx=256, parallel=1, cache_type_k="q8_0")
    assert need.kv_bytes == 256 * 2 * 34


def test_a_batch_counts_up_to_what_is_computed_in_one_go() -> None:
    usual = estimate(LLAMA_8B, ctx=4096, parallel=1, batch_size=512)
    assert estimate(LLAMA_8B, ctx=4096, parallel=1, batch_size=4096) == usual
    vectors = estimate(LLAMA_8B, ctx=4096, parallel=1, batch_size=512, embeds=True)
    assert vectors.compute_bytes > 8 * usual.compute_bytes


def test_no_more_is_computed_at_once_than_all_slots_hold() -> None:
    small = estimate(LLAMA_8B, ctx=256, parallel=1, batch_size=256)
    assert estimate(LLAMA_8B, ctx=256, parallel=1, batch_size=512) == small
    two = estimate(LLAMA_8B, ctx=256, parallel=2, batch_size=512)
    assert two.compute_bytes > 1.5 * small.compute_bytes


def test_only_a_worker_for_vectors_scores_every_token_at_once() -> None:
    small, large = replace(LLAMA_8B, vocab_size=1000), replace(LLAMA_8B, vocab_size=129_000)
    written = [estimate(each, ctx=2048, parallel=2).compute_bytes for each in (small, large)]
    assert written[1] - written[0] == 4 * 2 * 128_000
    read = [estimate(each, ctx=2048, parallel=2, embeds=True) for each in (small, large)]
    assert read[1].compute_bytes - read[0].compute_bytes > 4 * 2048 * 80_000


def test_layers_with_a_sliding_window_keep_only_what_they_see() -> None:
    need = estimate(GEMMA_12B, ctx=32_768, parallel=1, batch_size=512)
    assert need.kv_bytes == (2048 + 480) * MIB
    assert not need.approximate


def test_a_sliding_layer_may_have_keys_of_its_own_length() -> None:
    narrow = replace(GEMMA_12B, sliding_key_length=128, sliding_value_length=128)
    need = estimate(narrow, ctx=32_768, parallel=1, batch_size=512)
    assert need.kv_bytes == (2048 + 240) * MIB


def test_a_short_context_is_not_widened_to_the_window() -> None:
    plain = replace(GEMMA_12B, sliding_window=None, sliding=())
    assert (
        estimate(GEMMA_12B, ctx=512, parallel=1).kv_bytes
        == estimate(plain, ctx=512, parallel=1).kv_bytes
    )


@pytest.mark.parametrize(
    "facts",
    [
        replace(LLAMA_8B, architecture="deepseek4"),
        replace(LLAMA_8B, architecture="mamba", kv_heads=(0,) * 32, recurrent_blocks=32),
        replace(GEMMA_12B, sliding_window=None, sliding=()),
        replace(LLAMA_8B, blocks=None, kv_heads=()),
        replace(LLAMA_8B, weights_exact=False),
        replace(LLAMA_8B, key_length=None, value_length=None),
    ],
)
def test_what_is_only_guessed_is_marked(facts: ModelFacts) -> None:
    assert estimate(facts, ctx=4096, parallel=1).approximate


def test_a_guessed_cache_is_doubted_but_a_known_one_is_not() -> None:
    known = estimate(LLAMA_8B, ctx=4096, parallel=1)
    assert known.sure_bytes == known.total_bytes
    guessed = estimate(replace(LLAMA_8B, architecture="new"), ctx=4096, parallel=1)
    assert guessed.total_bytes - guessed.sure_bytes == 384 * MIB


def test_a_state_does_not_grow_with_the_context() -> None:
    mamba = replace(
        LLAMA_8B,
        architecture="mamba",
        kv_heads=(0,) * 32,
        recurrent_blocks=32,
        state=State(32, 3 * 8192, 16 * 8192, 8192),
    )
    short, long = (estimate(mamba, ctx=ctx, parallel=2) for ctx in (1024, 65_536))
    assert short == long
    assert (short.kv_bytes, short.state_bytes) == (0, 4 * 2 * 32 * 19 * 8192)
    assert short.total_bytes - short.state_bytes == sum(
        [short.weights_bytes, short.compute_bytes, short.overhead_bytes]
    )
    assert not short.approximate


def test_pressed_keys_stand_for_the_values_too() -> None:
    pressed = replace(
        LLAMA_8B,
        architecture="deepseek2",
        kv_heads=(1,) * 27,
        key_length=576,
        value_length=512,
        expanded_key_length=192,
    )
    assert estimate(pressed, ctx=32_768, parallel=1).kv_bytes == 972 * MIB


def test_who_knows_the_size_of_all_parts_leaves_no_doubt() -> None:
    split = replace(LLAMA_8B, split_count=3, weights_exact=False)
    need = estimate(split, ctx=4096, parallel=1, weights_bytes=5 * GIB)
    assert (need.weights_bytes, need.approximate) == (5 * GIB, False)


def test_a_table_of_tokens_stays_in_main_memory_unless_it_scores_them_too() -> None:
    table = replace(LLAMA_8B, embedding_bytes=GIB, output_bytes=GIB)
    assert estimate(table, ctx=512, parallel=1).weights_bytes == table.weights_bytes
    card = estimate(table, ctx=512, parallel=1, accelerated=True)
    assert card.weights_bytes == table.weights_bytes - GIB
    tied = replace(table, output_bytes=0)
    assert estimate(tied, ctx=512, parallel=1, accelerated=True).weights_bytes == tied.weights_bytes


def test_facts_that_say_nothing_still_give_a_need() -> None:
    need = estimate(ModelFacts(architecture="new", weights_bytes=GIB), ctx=4096, parallel=1)
    assert need.kv_bytes == 0
    assert need.total_bytes > GIB


def test_the_parts_of_a_split_model_are_taken_for_alike() -> None:
    split = replace(LLAMA_8B, split_count=3, weights_exact=False)
    need = estimate(split, ctx=4096, parallel=1)
    assert need.weights_bytes == 3 * LLAMA_8B.weights_bytes


def test_an_accelerated_worker_takes_what_the_driver_takes() -> None:
    need = estimate(LLAMA_8B, ctx=4096, parallel=1, accelerated=True)
    assert need.overhead_bytes == ACCELERATOR_OVERHEAD_BYTES


def test_a_large_vocabulary_costs_the_engine_memory_of_its_own() -> None:
    # Measured: 58 MiB more for 149,000 tokens more.
    small, large = replace(LLAMA_8B, vocab_size=1000), replace(LLAMA_8B, vocab_size=150_000)
    more = (
        estimate(large, ctx=4096, parallel=1).overhead_bytes
        - estimate(small, ctx=4096, parallel=1).overhead_bytes
    )
    assert 58 * MIB <= more <= 65 * MIB


def test_parts_that_nobody_has_looked_at_are_doubted() -> None:
    split = replace(LLAMA_8B, split_count=2, weights_exact=False)
    need = estimate(split, ctx=4096, parallel=1)
    assert need.guessed_bytes == LLAMA_8B.weights_bytes
    assert need.sure_bytes < need.total_bytes - need.guessed_bytes
    assert estimate(LLAMA_8B, ctx=4096, parallel=1).guessed_bytes == 0
