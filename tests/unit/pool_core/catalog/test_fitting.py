from dataclasses import replace

import pytest

from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.pool import Backend, DeviceReport
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.estimate import estimate
from orchestrator_core.gguf.facts import ModelFacts
from orchestrator_core.units import GIB
from pool_core.catalog.fitting import fits_of, pick_devices

FACTS = ModelFacts(
    architecture="llama",
    trained_ctx=16_384,
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


def device(
    name: str, *backends: Backend, free_bytes: int = 32 * GIB, **fields: object
) -> DeviceReport:
    known: dict[str, object] = {
        "id": name,
        "index": 0,
        "kind": "cpu" if Backend.CPU in backends else "gpu",
        "name": name,
        "backends": list(backends),
        "memory_total_bytes": 32 * GIB,
        "memory_free_bytes": free_bytes,
    }
    return DeviceReport.model_validate(known | fields)


CPU = device("cpu", Backend.CPU)
GPU = device("gpu", Backend.CUDA, Backend.VULKAN)


def order(**fields: object) -> InfoOrder:
    return InfoOrder.model_validate({"model": "m", **fields})


def test_every_device_is_judged_by_its_first_backend() -> None:
    assert pick_devices(order(), [CPU, GPU]) == [(CPU, Backend.CPU), (GPU, Backend.CUDA)]


def test_a_backend_or_a_device_narrows_the_question() -> None:
    assert pick_devices(order(backend="vulkan"), [CPU, GPU]) == [(GPU, Backend.VULKAN)]
    assert pick_devices(order(device_ids=("cpu",)), [CPU, GPU]) == [(CPU, Backend.CPU)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"device_ids": ("none",)}, Code.INVALID_REQUEST),
        ({"backend": "metal"}, Code.BACKEND_UNAVAILABLE),
    ],
)
def test_what_is_not_on_this_host_is_refused(asked: dict[str, object], code: Code) -> None:
    refusal = pick_devices(order(**asked), [CPU, GPU])
    assert isinstance(refusal, Refusal)
    assert refusal.code is code


def test_the_size_is_what_a_spawn_would_choose() -> None:
    targets = [(CPU, Backend.CPU), (GPU, Backend.CUDA)]
    cpu, gpu = fits_of(FACTS, order(), targets, entry=None)
    assert (cpu.ctx, cpu.parallel, cpu.fits) == (8192, 2, True)
    assert (gpu.ctx, gpu.parallel, gpu.fits) == (8192, 4, True)
    narrow = device("cpu", Backend.CPU, free_bytes=6 * GIB)
    (fit,) = fits_of(FACTS, order(), [(narrow, Backend.CPU)], entry=None)
    assert fit.fits
    assert fit.ctx < 8192


def test_a_given_size_is_judged_as_it_is() -> None:
    narrow = device("cpu", Backend.CPU, free_bytes=5 * GIB)
    asked = order(ctx=16_384, parallel=8)
    (fit,) = fits_of(FACTS, asked, [(narrow, Backend.CPU)], entry=None)
    assert (fit.ctx, fit.parallel, fit.fits) == (16_384, 8, False)
    assert fit.reasons


def test_a_broken_device_fits_nothing_however_much_is_free() -> None:
    broken = device("gpu", Backend.CUDA, fault="it has fallen off the bus")
    (fit,) = fits_of(FACTS, order(), [(broken, Backend.CUDA)], entry=None)
    assert not fit.fits
    assert fit.reasons[0] == "it has fallen off the bus"


def test_what_makes_vectors_is_judged_as_a_worker_for_vectors() -> None:
    encoder = replace(FACTS, architecture="nomic-bert", trained_ctx=8192, kv_heads=(0,) * 32)
    (fit,) = fits_of(encoder, order(), [(CPU, Backend.CPU)], entry=None)
    need = estimate(encoder, ctx=2048, parallel=2, embeds=True)
    assert (fit.ctx, fit.compute_bytes) == (2048, need.compute_bytes)


def test_a_context_that_a_spawn_would_refuse_does_not_fit() -> None:
    (fit,) = fits_of(FACTS, order(ctx=16_385, parallel=1), [(CPU, Backend.CPU)], entry=None)
    assert not fit.fits
    assert fit.reasons == ["ctx 16385 is more than the 16384 tokens it was trained for"]
    far = order(ctx=4_194_304, parallel=256)
    (fit,) = fits_of(FACTS, far, [(CPU, Backend.CPU)], entry=None)
    assert fit.reasons == ["ctx 4194304 is more than the 16384 tokens it was trained for"]
    (fit,) = fits_of(FACTS, order(ctx=16_384, parallel=1), [(CPU, Backend.CPU)], entry=None)
    assert (fit.fits, fit.reasons) == (True, [])


def test_a_split_model_whose_parts_are_known_is_no_guess() -> None:
    split = replace(FACTS, split_count=3, weights_exact=False)
    targets = [(CPU, Backend.CPU)]
    (exact,) = fits_of(split, order(), targets, entry=None, weights_bytes=5 * GIB)
    assert (exact.weights_bytes, exact.approximate) == (5 * GIB, False)
    (guess,) = fits_of(split, order(), targets, entry=None)
    assert (guess.weights_bytes, guess.approximate) == (12 * GIB, True)
