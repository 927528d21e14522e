from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged, Header, TensorInfo, parse_header
from support.gguf_files import DEFAULT_TENSORS, Tensor, Value, gguf_bytes
from support.worker_process import MODELS


def judged(
    values: dict[str, Value] | None = None,
    *,
    architecture: str = "llama",
    tensors: Sequence[Tensor] = DEFAULT_TENSORS,
    file_bytes: int | None = None,
) -> ModelFacts | Damaged:
    header = parse_header(gguf_bytes(architecture=architecture, values=values, tensors=tensors))
    assert isinstance(header, Header), header
    return facts_of(header, file_bytes=file_bytes)


def facts(values: dict[str, Value] | None = None, *, architecture: str = "llama") -> ModelFacts:
    answer = judged(values, architecture=architecture)
    assert isinstance(answer, ModelFacts), answer
    return answer


def real(name: str) -> ModelFacts | Damaged:
    header = parse_header((MODELS / f"{name}.gguf").read_bytes())
    assert isinstance(header, Header)
    return facts_of(header)


def test_the_facts_of_tiny_chat() -> None:
    assert real("tiny-chat") == ModelFacts(
        architecture="llama",
        name="tiny-chat",
        file_type="Q8_0",
        trained_ctx=1024,
        blocks=4,
        embedding_length=128,
        head_count=4,
        kv_heads=(2, 2, 2, 2),
        key_length=32,
        value_length=32,
        feed_forward_length=384,
        vocab_size=512,
        parameters=853_120,
        weights_bytes=909_824,
        layer_bytes=(209_920,) * 4,
        embedding_bytes=69_632,
        needed_file_bytes=924_160,
        has_chat_template=True,
        tensor_count=38,
    )


def test_the_facts_of_tiny_story() -> None:
    assert real("tiny-story") == ModelFacts(
        architecture="llama",
        name="tiny-story",
        file_type="Q8_0",
        trained_ctx=1024,
        blocks=2,
        embedding_length=96,
        head_count=3,
        kv_heads=(1, 1),
        key_length=32,
        value_length=32,
        feed_forward_length=256,
        vocab_size=512,
        parameters=246_240,
        weights_bytes=263_040,
        layer_bytes=(105_216,) * 2,
        embedding_bytes=52_224,
        needed_file_bytes=276_320,
        has_chat_template=True,
        tensor_count=20,
    )


def test_the_weights_are_the_sum_of_the_tensors_and_the_file_holds_them_all() -> None:
    data = gguf_bytes()
    header = parse_header(data)
    assert isinstance(header, Header)
    found = facts_of(header)
    assert isinstance(found, ModelFacts)
    assert found.weights_bytes == sum(tensor.data_bytes for tensor in DEFAULT_TENSORS)
    assert found.weights_exact
    assert found.embedding_bytes == DEFAULT_TENSORS[0].data_bytes
    assert found.needed_file_bytes == len(data)


def test_without_a_tensors_size_the_files_size_stands_in() -> None:
    unknown = [Tensor("output.weight", (64, 96), kind=99)]
    guessed = judged(tensors=unknown, file_bytes=1_000_000)
    assert isinstance(guessed, ModelFacts)
    assert 990_000 < guessed.weights_bytes < 1_000_000
    assert not guessed.weights_exact
    blind = judged(tensors=unknown)
    assert isinstance(blind, ModelFacts)
    assert (blind.weights_bytes, blind.weights_exact) == (0, False)


def test_heads_may_differ_from_layer_to_layer() -> None:
    assert facts({"llama.attention.head_count_kv": [2, 0]}).kv_heads == (2, 0)


def test_a_layer_that_only_drafts_keeps_nothing() -> None:
    assert facts({"llama.nextn_predict_layers": 1}).kv_heads == (2, 0)


def test_a_layer_that_shares_a_cache_keeps_none_of_its_own() -> None:
    shared: dict[str, Value] = {
        "gemma4.block_count": 4,
        "gemma4.attention.shared_kv_layers": 3,
        "gemma4.attention.key_length_swa": 64,
        "gemma4.attention.value_length_swa": 32,
    }
    found = facts(shared, architecture="gemma4")
    assert found.kv_heads == (2, 0, 0, 0)
    assert (found.sliding_key_length, found.sliding_value_length) == (64, 32)
    fixed = facts({"gemma3n.block_count": 24}, architecture="gemma3n")
    assert fixed.kv_heads == (2,) * 20 + (0,) * 4


def test_a_model_that_makes_vectors_keeps_nothing() -> None:
    assert facts(architecture="nomic-bert").kv_heads == (0, 0)


def test_keys_are_kept_pressed_where_both_lengths_tell_so() -> None:
    told: dict[str, Value] = {
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.attention.value_length_mla": 128,
    }
    assert facts(told, architecture="deepseek2").expanded_key_length == 192
    del told["deepseek2.attention.value_length_mla"]
    assert facts(told, architecture="deepseek2").expanded_key_length is None


def test_without_heads_for_the_cache_every_head_has_its_own() -> None:
    assert facts({"llama.attention.head_count_kv": None}).kv_heads == (4, 4)


def test_lengths_of_heads_are_told_or_follow_from_the_width() -> None:
    assert (facts().key_length, facts().value_length) == (16, 16)
    told = facts({"llama.attention.key_length": 256, "llama.attention.value_length": 128})
    assert (told.key_length, told.value_length) == (256, 128)


def test_of_a_number_per_layer_the_largest_one_counts() -> None:
    assert facts({"llama.feed_forward_length": [128, 512]}).feed_forward_length == 512


def test_the_vocabulary_is_told_or_counted() -> None:
    assert facts().vocab_size == 96
    assert facts({"llama.vocab_size": 1000}).vocab_size == 1000


def test_a_header_that_tells_only_its_architecture_leaves_the_rest_open() -> None:
    silent: dict[str, Value] = {
        "llama.context_length": None,
        "llama.block_count": None,
        "llama.embedding_length": None,
        "llama.feed_forward_length": None,
        "llama.attention.head_count": None,
        "llama.attention.head_count_kv": None,
        "tokenizer.ggml.tokens": None,
        "general.name": None,
        "general.file_type": 9999,
    }
    found = facts(silent)
    assert (found.blocks, found.trained_ctx, found.kv_heads) == (None, None, ())
    assert (found.key_length, found.vocab_size, found.name) == (None, None, None)
    assert found.file_type is None


@pytest.mark.parametrize(
    ("architecture", "pattern", "sliding"),
    [
        ("gemma3", None, 10),
        ("gpt-oss", None, 6),
        ("gemma3", 4, 9),
        ("gemma3", 0, 12),
        ("gemma3", 1, 0),
        ("cohere2moe", None, 9),
        ("olmo2", None, 9),
    ],
)
def test_layers_that_slide_are_known_by_architecture_or_told(
    architecture: str, pattern: int | None, sliding: int
) -> None:
    told: dict[str, Value] = {
        f"{architecture}.block_count": 12,
        f"{architecture}.attention.sliding_window": 512,
        f"{architecture}.attention.sliding_window_pattern": pattern,
    }
    found = facts(told, architecture=architecture)
    assert (found.sliding_window, found.sliding_blocks) == (512, sliding)


@pytest.mark.parametrize(
    ("architecture", "told", "window"),
    [
        # The engine keeps the whole context of these, whatever their header says.
        ("llama", 512, None),
        ("phi3", 512, None),
        ("exaone4", 512, None),
        ("olmo2", None, None),
        ("gemma3", 0, None),
        # It has a window of its own for these.
        ("gemma2", None, 4096),
        ("llama4", None, 8192),
        ("llama4", 512, 8192),
        ("llama4", 0, None),
    ],
)
def test_a_window_is_the_one_that_the_engine_goes_by(
    architecture: str, told: int | None, window: int | None
) -> None:
    found = facts({f"{architecture}.attention.sliding_window": told}, architecture=architecture)
    assert found.sliding_window == window
    assert bool(found.sliding) == (window is not None)


def test_which_end_of_a_group_sees_everything_is_the_architectures_own() -> None:
    last = {"gemma3.block_count": 6, "gemma3.attention.sliding_window": 512}
    assert facts(dict(last), architecture="gemma3").sliding == (True,) * 5 + (False,)
    first = {"laguna.block_count": 4, "laguna.attention.sliding_window": 512}
    assert facts(dict(first), architecture="laguna").sliding == (False, True, True, True)


def test_layers_that_slide_may_be_listed() -> None:
    told: dict[str, Value] = {
        "gemma4.attention.sliding_window": 512,
        "gemma4.attention.sliding_window_pattern": [True, False],
    }
    assert facts(told, architecture="gemma4").sliding == (True, False)


def test_experts_are_weighed_apart() -> None:
    tensors = [
        Tensor("blk.0.ffn_gate_inp.weight", (64, 8)),
        Tensor("blk.0.ffn_up_exps.weight", (64, 32, 8), "Q8_0"),
        Tensor("blk.1.ffn_gate_up_exps.weight", (64, 32, 8), "Q8_0"),
        Tensor("blk.1.ffn_up_shexp.weight", (64, 32), "Q8_0"),
        Tensor("blk.9.ffn_up.weight", (64, 32), "Q8_0"),
        Tensor("rope_freqs.weight", (64,)),
    ]
    found = judged({"llama.expert_count": 8, "llama.expert_used_count": 2}, tensors=tensors)
    assert isinstance(found, ModelFacts)
    assert (found.expert_count, found.expert_used_count) == (8, 2)
    assert found.expert_bytes == tensors[1].data_bytes + tensors[2].data_bytes
    assert found.layer_bytes == (
        tensors[0].data_bytes + tensors[1].data_bytes,
        tensors[2].data_bytes + tensors[3].data_bytes,
    )
    assert found.parameters == 64 * 8 + 2 * 64 * 32 * 8 + 2 * 64 * 32


def test_the_parameters_of_one_part_say_nothing_of_the_whole() -> None:
    assert facts({"split.count": 3, "split.no": 0}).parameters is None


def test_a_name_is_shown_without_what_no_terminal_should_see() -> None:
    assert facts({"general.name": "\x1b[31m red\n" + "x" * 200}).name == "[31m red" + "x" * 120
    assert facts({"general.name": "\n"}).name is None


def test_parts_of_a_split_model_are_counted() -> None:
    first = facts({"split.count": 3, "split.no": 0})
    assert (first.split_count, first.weights_exact) == (3, False)
    later = judged({"split.count": 3, "split.no": 1})
    assert isinstance(later, Damaged)
    assert "name its first part" in later.reason


@pytest.mark.parametrize("value", [None, "", 7])
def test_a_model_without_an_architecture_is_refused(value: Value) -> None:
    assert judged({"general.architecture": value}) == Damaged(
        "the header names no model architecture"
    )


def test_an_architecture_that_is_no_name_is_damage() -> None:
    answer = judged({"general.architecture": "a\x1b[31m"})
    assert isinstance(answer, Damaged)
    assert answer.reason.isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 0),
        ("llama.block_count", 513),
        ("llama.block_count", 2**31),
        ("llama.block_count", -1),
        ("llama.block_count", 2.0),
        ("llama.block_count", True),
        ("llama.block_count", "2"),
        ("llama.context_length", 0),
        ("llama.context_length", 2**40),
        ("llama.embedding_length", 0),
        ("llama.embedding_length", 2**31),
        ("llama.attention.head_count", 2**31),
        ("llama.attention.head_count_kv", 2**31),
        ("llama.attention.head_count_kv", [2]),
        ("llama.attention.head_count_kv", [2, 2**31]),
        ("llama.attention.key_length", 2**31),
        ("llama.vocab_size", 2**31),
        ("llama.expert_count", 2**31),
        ("llama.attention.sliding_window", -1),
        ("llama.attention.key_length_swa", 0),
        ("llama.attention.key_length_mla", 2**31),
        ("llama.expert_used_count", -1),
        ("llama.expert_feed_forward_length", 2**31),
        ("llama.nextn_predict_layers", 3),
        ("llama.embedding_length_per_layer_input", 2**31),
        ("llama.altup.num_inputs", 65),
        ("split.count", 2**15),
    ],
)
def test_a_number_that_no_engine_survives_is_damage(key: str, value: Value) -> None:
    answer = judged({key: value})
    assert isinstance(answer, Damaged)
    assert key in answer.reason
    assert answer.reason.endswith("it is damaged")


@given(st.data())
def test_no_flipped_header_makes_facts_fail(data: st.DataObject) -> None:
    changed = bytearray((MODELS / "tiny-story.gguf").read_bytes()[:16_384])
    # The keys stand in the first kilobyte; the vocabulary and the tensors follow.
    place, value = st.integers(0, 1023), st.integers(0, 255)
    for at, byte in data.draw(st.lists(st.tuples(place, value), min_size=1, max_size=8)):
        changed[at] = byte
    header = parse_header(bytes(changed))
    if isinstance(header, Header):
        assert isinstance(facts_of(header, file_bytes=276_320), ModelFacts | Damaged)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, -1])
def test_an_epsilon_that_aborts_the_engine_is_damage(value: float) -> None:
    found = judged({"llama.attention.layer_norm_rms_epsilon": value})
    assert isinstance(found, Damaged)
    assert "as llama.attention.layer_norm_rms_epsilon: it is damaged" in found.reason


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"llama.attention.key_length": 65_536, "llama.attention.head_count": 17}, "17 heads of"),
        (
            {"llama.attention.value_length": 65_536, "llama.attention.head_count_kv": 16_384},
            "16384 heads of 65536 numbers each",
        ),
    ],
)
def test_numbers_that_are_absurd_only_together_are_damage(
    values: dict[str, Value], words: str
) -> None:
    answer = judged(values)
    assert isinstance(answer, Damaged)
    assert words in answer.reason


def test_weights_that_no_disk_holds_are_damage() -> None:
    header = parse_header(gguf_bytes())
    assert isinstance(header, Header)
    huge = replace(header, tensors=(TensorInfo("a.weight", (1 << 48,), 1, 0, 1 << 49),))
    answer = facts_of(huge)
    assert isinstance(answer, Damaged)
    assert "weights of 562949953421312 bytes" in answer.reason
