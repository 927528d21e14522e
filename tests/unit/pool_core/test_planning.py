"""The table of refusals holds every abort and hang of the engine that an order could cause."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.contracts.pool import Backend, ModelFile, WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.estimate import estimate
from orchestrator_core.gguf.facts import ModelFacts
from pool_core.catalog.located import Located
from pool_core.workers.engine_facts import EngineFacts
from pool_core.workers.planning import HostPicture, Plan, plan
from support.pool_builders import cpu, gpu, spec

GIB = 1 << 30
FLAGS = ("avx2", "f16c", "fma")


def located(**changes: Any) -> Located:
    """A model like an 8B one: 4.5 GiB of weights, 128 KiB of cache for a token."""
    facts: dict[str, Any] = {
        "architecture": "llama",
        "trained_ctx": 131_072,
        "blocks": 32,
        "embedding_length": 4096,
        "head_count": 32,
        "kv_heads": (8,) * 32,
        "key_length": 128,
        "value_length": 128,
        "feed_forward_length": 14_336,
        "vocab_size": 128_256,
        "weights_bytes": 9 * GIB // 2,
        "tensor_count": 291,
    }
    return Located(Path("/models/a.gguf"), 5 * GIB, ModelFacts(**facts | changes))


TINY = located(
    trained_ctx=1024,
    blocks=4,
    embedding_length=128,
    kv_heads=(2,) * 4,
    key_length=32,
    value_length=32,
    feed_forward_length=384,
    vocab_size=512,
    weights_bytes=900_000,
)


def host(free_bytes: int = 64 * GIB, total_bytes: int = 64 * GIB, **changes: Any) -> HostPicture:
    device = cpu(memory_free_bytes=free_bytes, memory_total_bytes=total_bytes, features=FLAGS)
    facts: dict[str, Any] = {
        "devices": (device,),
        "reserved_bytes": {},
        "cpus": 4,
        "system": "linux",
        "machine": "x86_64",
        "engine": EngineFacts("b11549", frozenset({"zzz9"})),
    }
    return HostPicture(**facts | changes)


def open_order(**changes: Any) -> WorkerSpec:
    return spec(ctx=None, parallel=None).model_copy(update=changes)


def accepted(answer: Plan | Refusal) -> Plan:
    assert isinstance(answer, Plan), answer
    return answer


def refused(answer: Plan | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_full_order_is_planned_as_it_stands() -> None:
    order = spec(ctx=512, parallel=3, threads=2, device_ids=("cpu",))
    decided = accepted(plan(order, TINY, host()))
    need = estimate(TINY.facts, ctx=512, parallel=3).total_bytes
    assert decided.spec == order
    assert (decided.device_ids, decided.index, decided.threads) == (("cpu",), 0, 2)
    assert decided.needed_bytes == {"cpu": need + round(need * 0.1)}
    assert len(decided.reasons) == 1


def test_what_is_left_open_is_chosen_with_reasons() -> None:
    decided = accepted(plan(open_order(), TINY, host()))
    assert (decided.spec.ctx, decided.spec.parallel, decided.threads) == (1024, 2, 4)
    assert WorkerSpec.model_validate_json(decided.spec.model_dump_json()) == decided.spec
    assert decided.reasons[0] == "ctx 1024 is the default for this model, trained for 1024"
    assert decided.reasons[1] == "parallel 2 is the default on cpu"
    assert decided.reasons[2].endswith(" of the 64 GiB left on cpu")


@pytest.mark.parametrize(
    ("cores", "cpus", "threads"), [(4, 8, 4), (8, 4, 4), (None, 3, 3), (2, 1, 1)]
)
def test_threads_default_to_the_physical_cores_that_may_be_used(
    cores: int | None, cpus: int, threads: int
) -> None:
    picture = host(devices=(cpu(cores=cores, features=FLAGS),), cpus=cpus)
    assert accepted(plan(spec(), TINY, picture)).threads == threads


# What the engine was seen to do with each of these stands in the comments.
FATAL: list[tuple[dict[str, Any], dict[str, Any], Code, str]] = [
    ({"parallel": 0}, {}, Code.INVALID_REQUEST, "spec.parallel: 0 slots"),  # hangs for ever
    ({"parallel": -1}, {}, Code.INVALID_REQUEST, "spec.parallel: -1 slots"),  # makes it 4
    ({"parallel": 300}, {}, Code.INVALID_REQUEST, "spec.parallel: 300 slots"),
    ({"threads": 0}, {}, Code.INVALID_REQUEST, "spec.threads: 0 threads"),  # aborts
    ({"threads": -1}, {}, Code.INVALID_REQUEST, "spec.threads: -1 threads"),
    ({"threads": 5000}, {}, Code.INVALID_REQUEST, "spec.threads: 5000 threads"),  # hangs the host
    ({"ctx": 0}, {}, Code.INVALID_REQUEST, "spec.ctx: 0 tokens"),  # takes all it was trained for
    ({"ctx": -5}, {}, Code.INVALID_REQUEST, "spec.ctx: -5 tokens"),
    ({"ctx": 100_000_000}, {}, Code.INVALID_REQUEST, "spec.ctx: 100000000 tokens"),  # hangs
    ({"ctx": 1025}, {}, Code.INVALID_REQUEST, "spec.ctx: 1025 tokens per slot"),  # cuts it
    ({"batch_size": 0}, {}, Code.INVALID_REQUEST, "spec.batch_size: 0 tokens"),  # aborts
    ({"batch_size": 31}, {}, Code.INVALID_REQUEST, "spec.batch_size: 31 tokens"),
    ({"device_ids": ("GPU-9",)}, {}, Code.INVALID_REQUEST, "spec.device_ids: this host has no"),
    ({"backend": Backend.CUDA}, {}, Code.BACKEND_UNAVAILABLE, "cuda needs"),  # computes on the CPU
    (
        {},
        {"architecture": "zzz9"},
        Code.MODEL_INCOMPATIBLE,
        "unknown model architecture zzz9; engine b11549",
    ),
    ({}, {"architecture": "clip"}, Code.MODEL_INCOMPATIBLE, "tiny-chat cannot generate: its file"),
    ({}, {"architecture": "bert"}, Code.MODEL_INCOMPATIBLE, "tiny-chat cannot generate: a bert"),
    (
        {"task": TaskKind.EMBED},
        {"architecture": "clip"},
        Code.MODEL_INCOMPATIBLE,
        "tiny-chat cannot embed: its file",
    ),
    (
        {"task": TaskKind.RERANK},
        {"architecture": "clip"},
        Code.MODEL_INCOMPATIBLE,
        "tiny-chat cannot rerank: its file",
    ),
    ({}, {"trained_ctx": 32}, Code.MODEL_INCOMPATIBLE, "tiny-chat was trained for 32 tokens"),
    ({}, {"weights_bytes": 65 * GIB}, Code.WORKER_REFUSED, "tiny-chat with ctx 1024"),  # is killed
    (
        {"model": ModelFile.model_construct(model_id="a", source="file", file="x\0y")},
        {},
        Code.INVALID_REQUEST,
        "spec.model.file: ",  # opens another file
    ),
    (
        {"model": ModelFile.model_construct(model_id="", source="file", file="x")},
        {},
        Code.INVALID_REQUEST,
        "spec.model.model_id: ",  # shows the file's path to every client
    ),
]


@pytest.mark.parametrize(("changes", "facts", "code", "message"), FATAL)
def test_nothing_is_left_for_the_engine_to_abort_or_hang_on(
    changes: dict[str, Any], facts: dict[str, Any], code: Code, message: str
) -> None:
    model = located(**{"trained_ctx": 1024, **facts})
    refusal = refused(plan(spec().model_copy(update=changes), model, host()))
    assert refusal.code is code
    assert refusal.message.startswith(message)
    assert refusal.message.isprintable()


def test_an_embedding_model_embeds() -> None:
    model = located(architecture="bert", trained_ctx=512)
    decided = accepted(plan(open_order(task=TaskKind.EMBED), model, host()))
    assert decided.spec.ctx == 512


def test_without_facts_of_the_engine_no_architecture_is_refused() -> None:
    accepted(plan(spec(), located(architecture="zzz9"), host(engine=None)))


def test_the_backend_is_judged_before_the_model() -> None:
    order = spec(backend=Backend.METAL, ctx=64)
    refusal = refused(plan(order, located(architecture="zzz9"), host()))
    assert refusal.message == "metal needs a Mac: this is a Linux host"


def test_without_a_model_the_order_and_the_host_are_judged() -> None:
    decided = accepted(plan(open_order(), None, host(free_bytes=0)))
    assert (decided.spec.ctx, decided.spec.parallel, decided.needed_bytes) == (8192, 2, {})
    assert refused(plan(open_order(threads=99), None, host())).code is Code.INVALID_REQUEST


def test_a_default_beside_an_ordered_value_cannot_make_an_impossible_whole() -> None:
    order = open_order(ctx=(1 << 24) - 1)
    refusal = refused(plan(order, None, host()))
    assert refusal.details["field"] == "spec.ctx"


@pytest.mark.parametrize(
    ("free_gib", "ctx", "parallel"),
    [(64, 8192, 2), (8, 8192, 2), (7, 4096, 2), (6, 2048, 2), (5.6, 2048, 1)],
)
def test_context_and_slots_shrink_until_the_memory_suffices(
    free_gib: float, ctx: int, parallel: int
) -> None:
    decided = accepted(plan(open_order(), located(), host(free_bytes=int(free_gib * GIB))))
    assert (decided.spec.ctx, decided.spec.parallel) == (ctx, parallel)
    assert decided.needed_bytes["cpu"] <= free_gib * GIB


def test_memory_that_is_only_taken_now_is_worth_another_try() -> None:
    picture = host(free_bytes=8 * GIB, reserved_bytes={"cpu": 4 * GIB})
    refusal = refused(plan(open_order(), located(), picture))
    assert refusal.code is Code.NO_CAPACITY
    assert refusal.outcome.retry_later
    assert refusal.retry_after_s is not None
    assert refusal.message.startswith("tiny-chat with ctx 2048 and parallel 1 needs 5.")
    assert "on cpu, of which 4 GiB are free (4 GiB are promised to workers" in refusal.message
    assert refusal.details["devices"] == ["cpu"]


def test_memory_that_the_host_never_had_is_a_final_no_for_this_host() -> None:
    picture = host(free_bytes=4 * GIB, total_bytes=4 * GIB)
    refusal = refused(plan(open_order(), located(), picture))
    assert refusal.code is Code.WORKER_REFUSED
    assert not refusal.outcome.retry_later
    assert refusal.message.endswith("on cpu, which has 4 GiB in all")


def test_a_refused_context_comes_with_one_that_would_fit() -> None:
    order = spec(ctx=131_072, parallel=1)
    refusal = refused(plan(order, located(), host(free_bytes=8 * GIB)))
    assert refusal.code is Code.NO_CAPACITY
    assert refusal.message.endswith("; ctx 16384 would fit")


def test_fewer_slots_are_proposed_where_no_context_helps() -> None:
    order = spec(ctx=64, parallel=256)
    refusal = refused(plan(order, located(), host(free_bytes=6 * GIB)))
    assert refusal.message.endswith("; parallel 1 with ctx 64 would fit")


def test_vectors_need_the_buffers_of_a_whole_context() -> None:
    order = spec(ctx=8192, parallel=1)
    generate = accepted(plan(order, located(), host())).needed_bytes["cpu"]
    embed = order.model_copy(update={"task": TaskKind.EMBED})
    assert accepted(plan(embed, located(), host())).needed_bytes["cpu"] > generate + GIB


def test_an_unknown_amount_of_memory_refuses_nobody() -> None:
    decided = accepted(plan(open_order(), located(), host(free_bytes=0, total_bytes=0)))
    assert (decided.spec.ctx, decided.needed_bytes) == (8192, {})


def test_the_doubt_of_a_rough_estimate_is_in_favour_of_the_order() -> None:
    model = located(architecture="gemma3", sliding_window=None)
    order = spec(ctx=32_768, parallel=1)
    decided = accepted(plan(order, model, host(free_bytes=8 * GIB)))
    assert decided.needed_bytes["cpu"] > 8 * GIB
    assert decided.reasons[-1].startswith("it is started all the same: ")
    assert refused(plan(order, model, host(free_bytes=5 * GIB))).code is Code.NO_CAPACITY


def test_several_devices_take_equal_shares_and_the_fullest_decides() -> None:
    apple = {"kind": "gpu", "backends": [Backend.METAL], "memory_total_bytes": 16 * GIB}
    devices = (
        cpu(id="A", index=1, memory_free_bytes=12 * GIB, **apple),
        cpu(id="B", index=2, memory_free_bytes=4 * GIB, **apple),
    )
    picture = host(devices=devices, system="darwin", machine="arm64")
    order = spec(backend=Backend.METAL, device_ids=("A", "B"), ctx=4096)
    decided = accepted(plan(order, located(), picture))
    need = estimate(located().facts, ctx=4096, parallel=1, accelerated=True).total_bytes
    assert (decided.device_ids, decided.index) == (("A", "B"), 1)
    assert set(decided.needed_bytes) == {"A", "B"}
    assert sum(decided.needed_bytes.values()) == pytest.approx(need * 1.1, abs=4)
    assert (
        refused(
            plan(spec(backend=Backend.METAL, device_ids=("A", "B"), ctx=65_536), located(), picture)
        ).code
        is Code.NO_CAPACITY
    )


def test_a_stub_of_two_cards_without_a_build_is_refused_by_name() -> None:
    picture = host(devices=(gpu(0), gpu(1), cpu(features=FLAGS)))
    refusal = refused(plan(spec(backend=Backend.CUDA), TINY, picture))
    assert refusal.code is Code.BACKEND_UNAVAILABLE
    assert refusal.message.startswith("no engine build for cuda is installed on this host")


def test_the_cores_of_a_gpu_do_not_count_as_threads() -> None:
    devices = (
        cpu(id="APPLE-1", kind="gpu", backends=[Backend.METAL], unified_memory=True, cores=2),
        cpu(cores=4, features=FLAGS),
    )
    assert accepted(plan(spec(ctx=512), TINY, host(devices=devices, cpus=8))).threads == 4


def test_the_last_byte_decides() -> None:
    order = spec(ctx=512, parallel=1)
    needed = accepted(plan(order, TINY, host())).needed_bytes["cpu"]
    exactly = accepted(plan(order, TINY, host(free_bytes=needed)))
    assert exactly.needed_bytes == {"cpu": needed}
    less = refused(plan(order, TINY, host(free_bytes=needed - 1)))
    assert less.code is Code.NO_CAPACITY
    smaller = host(free_bytes=needed - 1, total_bytes=needed - 1)
    assert refused(plan(order, TINY, smaller)).code is Code.WORKER_REFUSED


def test_a_split_model_is_promised_what_its_parts_weigh() -> None:
    order = spec(ctx=4096, parallel=1)
    split = replace(located(split_count=4, weights_exact=False), part_bytes=(GIB, GIB, GIB // 2))
    decided = accepted(plan(order, split, host(free_bytes=9 * GIB)))
    whole = estimate(split.facts, ctx=4096, parallel=1, weights_bytes=7 * GIB)
    assert not whole.approximate
    assert decided.needed_bytes["cpu"] == whole.total_bytes + round(whole.total_bytes * 0.1)
    assert decided.reasons[-1].startswith("needs 8.43 GiB of the 9 GiB")


def test_a_worker_for_vectors_does_not_ask_for_a_buffer_of_gigabytes_by_itself() -> None:
    wide = located(
        blocks=24,
        embedding_length=896,
        head_count=14,
        kv_heads=(2,) * 24,
        key_length=64,
        value_length=64,
        feed_forward_length=4864,
        vocab_size=151_936,
        trained_ctx=32_768,
        weights_bytes=GIB // 2,
    )
    decided = accepted(plan(open_order(task=TaskKind.EMBED), wide, host()))
    assert decided.spec.ctx == 2048
    assert decided.needed_bytes["cpu"] < 5 * GIB // 2
    small = accepted(plan(open_order(task=TaskKind.EMBED), wide, host(free_bytes=5 * GIB // 4)))
    assert small.spec.ctx == 512
