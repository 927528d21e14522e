from dataclasses import replace
from pathlib import Path

import pytest

from llorch_worker.engine.limits import HostFacts, refuse, refuse_keys, refuse_model
from llorch_worker.settings import Settings, parse
from orchestrator_core.gguf.facts import ModelFacts

HOST = HostFacts(cpus=4, memory_available_bytes=1_000_000_000)
MODEL = ModelFacts(
    "llama", trained_ctx=4096, blocks=4, kv_heads=(2,) * 4, key_length=32, value_length=32
)


def settings(**changes: object) -> Settings:
    args = ["--model", "m", "--alias", "m", "--ctx-size", "4096", "--api-key-file", "k"]
    return replace(parse(args), **changes)


def test_sound_settings_pass() -> None:
    assert refuse(settings(), HOST) is None
    assert refuse(settings(threads=4, parallel=256, port=65_535, host="::1"), HOST) is None
    assert refuse_model(settings(), HOST, MODEL) is None


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"threads": 0}, "--threads"),
        ({"threads": -1}, "--threads"),
        ({"threads": 5}, "--threads"),
        ({"parallel": 0}, "--parallel"),
        ({"parallel": -1}, "--parallel"),
        ({"parallel": 257}, "--parallel"),
        ({"batch_size": 31}, "--batch-size"),
        ({"ubatch_size": 0}, "--ubatch-size"),
        ({"ubatch_size": 512}, "--ubatch-size"),
        ({"ctx_size": 0}, "--ctx-size"),
        ({"model": Path("/models/\udcff.gguf")}, "--model"),
        ({"model": Path("/models/a\x1b[2J.gguf")}, "--model"),
        ({"ctx_size": 3, "parallel": 4}, "--ctx-size"),
        ({"port": -1}, "--port"),
        ({"port": 65_536}, "--port"),
        ({"host": "192.168.1.1"}, "--host"),
        ({"host": "example.org"}, "--host"),
        ({"alias": ""}, "--alias"),
        ({"alias": "a\nb"}, "--alias"),
        ({"sse_ping_interval_s": 0}, "--sse-ping-interval"),
        ({"pooling": "mean"}, "--pooling"),
    ],
)
def test_every_bad_setting_is_refused_by_name(changes: dict[str, object], flag: str) -> None:
    reason = refuse(settings(**changes), HOST)
    assert reason is not None
    assert reason.startswith(flag)


def test_context_per_slot_may_not_exceed_the_training() -> None:
    assert refuse_model(settings(ctx_size=8192, parallel=2), HOST, MODEL) is None
    reason = refuse_model(settings(ctx_size=8192, parallel=1), HOST, MODEL)
    assert reason is not None
    assert "8192 tokens for each of 1 slots" in reason


def test_a_model_that_does_not_fit_in_memory_is_refused() -> None:
    wide = replace(MODEL, trained_ctx=None, kv_heads=(2048,) * 4)
    reason = refuse_model(settings(), HOST, wide)
    assert reason is not None
    assert "its cache takes 4 GiB, but only 954 MiB of memory are available" in reason


def test_a_cache_that_is_only_guessed_is_doubted() -> None:
    doubtful = replace(MODEL, architecture="new", kv_heads=(1024,) * 4)
    assert refuse_model(settings(), HOST, doubtful) is None
    sure = replace(doubtful, architecture="llama")
    assert refuse_model(settings(), HOST, sure) is not None


def test_weights_that_do_not_fit_in_memory_are_refused() -> None:
    assert refuse_model(settings(), HOST, replace(MODEL, weights_bytes=10**9)) is not None


def test_a_header_that_says_nothing_is_left_to_the_engine() -> None:
    assert refuse_model(settings(), HOST, ModelFacts("other")) is None


@pytest.mark.parametrize("keys", [(), ("short",), ("x" * 16, "with a space in it"), ("ü" * 20,)])
def test_weak_keys_are_refused(keys: tuple[str, ...]) -> None:
    assert refuse_keys(keys) is not None


def test_good_keys_pass() -> None:
    assert refuse_keys(("x" * 16, "y" * 43)) is None


def test_a_context_that_engines_count_wrongly_is_refused_whatever_the_model_says() -> None:
    endless = replace(MODEL, trained_ctx=None, kv_heads=(0,) * 4)
    large = replace(HOST, memory_available_bytes=10**15)
    assert refuse_model(settings(ctx_size=2**24), large, endless) is None
    for ctx_size in (2**24 + 1, 10**12):
        reason = refuse_model(settings(ctx_size=ctx_size), large, endless)
        assert reason == f"--ctx-size {ctx_size}: at most 16777216 tokens in all slots"


def test_what_a_gpu_holds_is_not_compared_with_the_hosts_memory() -> None:
    large = replace(MODEL, weights_bytes=10**12)
    assert refuse_model(settings(gpu_layers=999), HOST, large) is None
    assert refuse_model(settings(), HOST, large) is not None


def test_a_part_that_was_not_read_is_no_reason_to_refuse() -> None:
    # The last part of a split model may be as small as it likes.
    split = replace(MODEL, weights_bytes=600_000_000, weights_exact=False, split_count=2)
    assert refuse_model(settings(), HOST, split) is None
    assert refuse_model(settings(), HOST, replace(split, weights_bytes=10**9)) is not None
