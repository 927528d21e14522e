from dataclasses import replace

import pytest

from orchestrator_core.contracts.pool import Backend
from orchestrator_core.fit.devices import Target, judge_devices
from orchestrator_core.fit.estimate import ACCELERATOR_OVERHEAD_BYTES, estimate
from orchestrator_core.gguf.facts import ModelFacts
from orchestrator_core.units import GIB

MODEL = ModelFacts(
    architecture="llama",
    blocks=32,
    embedding_length=4096,
    head_count=32,
    kv_heads=(8,) * 32,
    key_length=128,
    value_length=128,
    feed_forward_length=14_336,
    vocab_size=128_256,
    weights_bytes=4 * GIB,
)
CPU = Target("cpu", "Some CPU", Backend.CPU, 32 * GIB, 64 * GIB)
CARD = Target("GPU-1", "Some card", Backend.CUDA, 8 * GIB, 24 * GIB)


def test_every_device_gets_a_verdict_in_the_given_order() -> None:
    cpu, card = judge_devices(MODEL, [CPU, CARD], ctx=4096, parallel=2)
    assert (cpu.device_id, card.device_id) == ("cpu", "GPU-1")
    assert (cpu.fits, card.fits) == (True, True)
    assert cpu.reasons == []


def test_a_verdict_says_what_takes_how_much() -> None:
    (card,) = judge_devices(MODEL, [CARD], ctx=4096, parallel=2, cache_type_k="q8_0")
    need = estimate(MODEL, ctx=4096, parallel=2, cache_type_k="q8_0", accelerated=True)
    assert (card.weights_bytes, card.kv_bytes) == (need.weights_bytes, need.kv_bytes)
    assert card.overhead_bytes == ACCELERATOR_OVERHEAD_BYTES
    assert card.needed_bytes == pytest.approx(need.total_bytes * 1.1, abs=1)
    assert (card.ctx, card.parallel, card.free_bytes) == (4096, 2, 8 * GIB)


def test_a_context_that_does_not_fit_names_the_one_that_would() -> None:
    (card,) = judge_devices(MODEL, [CARD], ctx=65_536, parallel=1)
    assert not card.fits
    assert "ctx 16384 would fit" in card.reasons
    assert judge_devices(MODEL, [CARD], ctx=16_384, parallel=1)[0].fits
    assert not judge_devices(MODEL, [CARD], ctx=32_768, parallel=1)[0].fits
    assert "it would fit if nothing else used the device" in card.reasons


def test_a_single_slot_is_named_where_only_that_fits() -> None:
    tight = replace(CARD, free_bytes=6 * GIB, total_bytes=6 * GIB)
    (card,) = judge_devices(MODEL, [tight], ctx=2048, parallel=256)
    assert card.reasons[-1] == "parallel 1 with ctx 2048 would fit"


def test_a_model_that_is_too_large_by_itself_gets_no_false_hope() -> None:
    (card,) = judge_devices(
        MODEL, [replace(CARD, free_bytes=2 * GIB, total_bytes=3 * GIB)], ctx=4096, parallel=1
    )
    assert card.reasons[-1] == "no context would fit: it needs a smaller model or another device"


def test_an_unknown_amount_of_memory_refuses_nobody() -> None:
    (card,) = judge_devices(
        MODEL, [replace(CARD, free_bytes=0, total_bytes=0)], ctx=4096, parallel=1
    )
    assert (card.fits, card.reasons) == (True, ["its driver does not tell how much memory it has"])


def test_the_size_of_all_parts_may_be_told() -> None:
    (card,) = judge_devices(MODEL, [CARD], ctx=4096, parallel=1, weights_bytes=20 * GIB)
    assert (card.weights_bytes, card.fits) == (20 * GIB, False)


def test_vectors_need_more_than_words() -> None:
    (words,), (vectors,) = (
        judge_devices(MODEL, [CPU], ctx=4096, parallel=1, embeds=each) for each in (False, True)
    )
    assert vectors.compute_bytes > 10 * words.compute_bytes


def test_what_a_spawn_would_start_all_the_same_gets_no_other_hint() -> None:
    rough = replace(MODEL, architecture="new")
    (card,) = judge_devices(rough, [CARD], ctx=32_768, parallel=1)
    assert (card.fits, card.approximate) == (False, True)
    assert card.reasons[-1].startswith("it is started all the same: ")


def test_giving_up_slots_alone_may_be_enough() -> None:
    tight = replace(CARD, free_bytes=6 * GIB, total_bytes=6 * GIB)
    (card,) = judge_devices(MODEL, [tight], ctx=64, parallel=256)
    assert card.reasons[-1] == "parallel 1 with ctx 64 would fit"
