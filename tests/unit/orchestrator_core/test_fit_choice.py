import pytest

from orchestrator_core.contracts.pool import Backend
from orchestrator_core.fit.choice import Choice, choose


def pick(
    *,
    room: int = 1 << 40,
    ctx: int | None = None,
    parallel: int | None = None,
    trained: int | None = 131_072,
    backend: Backend = Backend.CUDA,
    embeds: bool = False,
) -> Choice:
    return choose(
        ctx=ctx,
        parallel=parallel,
        trained_ctx=trained,
        backend=backend,
        fits=lambda each, slots: each * slots <= room,
        embeds=embeds,
    )


@pytest.mark.parametrize(
    ("trained", "ctx"), [(131_072, 8192), (8192, 8192), (3000, 3000), (1024, 1024), (None, 8192)]
)
def test_the_default_context_is_what_was_trained_up_to_8192(trained: int | None, ctx: int) -> None:
    assert pick(trained=trained).ctx == ctx


@pytest.mark.parametrize(
    ("backend", "parallel"), [(Backend.CPU, 2), (Backend.CUDA, 4), (Backend.METAL, 4)]
)
def test_the_default_slots_depend_on_the_backend(backend: Backend, parallel: int) -> None:
    assert pick(backend=backend).parallel == parallel


@pytest.mark.parametrize(
    ("room", "ctx", "parallel", "fits"),
    [
        (32_768, 8192, 4, True),
        (32_767, 4096, 4, True),
        (16_383, 2048, 4, True),
        (8191, 2048, 2, True),
        (4095, 2048, 1, True),
        (2047, 2048, 1, False),
    ],
)
def test_context_is_halved_to_its_floor_and_then_the_slots(
    room: int, ctx: int, parallel: int, fits: bool
) -> None:
    choice = pick(room=room)
    assert (choice.ctx, choice.parallel, choice.fits) == (ctx, parallel, fits)


@pytest.mark.parametrize(
    ("trained", "room", "ctx", "parallel"),
    [(3000, 11_999, 2048, 4), (3000, 4096, 2048, 2), (1024, 4095, 1024, 2), (1024, 1024, 1024, 1)],
)
def test_the_floor_is_what_was_trained_up_to_2048(
    trained: int, room: int, ctx: int, parallel: int
) -> None:
    choice = pick(trained=trained, room=room)
    assert (choice.ctx, choice.parallel, choice.fits) == (ctx, parallel, True)


def test_an_ordered_context_is_never_changed() -> None:
    choice = pick(ctx=16_384, room=16_384)
    assert (choice.ctx, choice.parallel, choice.fits) == (16_384, 1, True)
    assert not pick(ctx=16_384, room=16_383).fits


def test_ordered_slots_are_never_changed() -> None:
    choice = pick(parallel=8, room=16_384)
    assert (choice.ctx, choice.parallel, choice.fits) == (2048, 8, True)
    assert not pick(parallel=8, room=16_383).fits


def test_an_order_that_names_both_leaves_nothing_to_choose() -> None:
    assert pick(ctx=100, parallel=3) == Choice(100, 3, fits=True)
    assert pick(ctx=100, parallel=3, room=299) == Choice(100, 3, fits=False)


def test_every_choice_has_its_reason() -> None:
    assert pick(room=8191).reasons == (
        "ctx 8192 is the default for this model, trained for 131072",
        "ctx 2048 instead: more does not fit into the memory that is left",
        "parallel 4 is the default on cuda",
        "parallel 2 instead: more does not fit into the memory that is left",
    )
    assert pick(trained=None, parallel=1).reasons == ("ctx 8192 is the default for this model",)
    assert pick(ctx=512, backend=Backend.CPU).reasons == ("parallel 2 is the default on cpu",)


@pytest.mark.parametrize(
    ("trained", "room", "ctx", "parallel"),
    [
        (131_072, 8192, 2048, 4),
        (131_072, 8191, 1024, 4),
        (131_072, 2047, 512, 2),
        (512, 2048, 512, 4),
        (None, 1 << 40, 2048, 4),
        (300, 1 << 40, 300, 4),
    ],
)
def test_a_worker_for_vectors_gets_a_shorter_context(
    trained: int | None, room: int, ctx: int, parallel: int
) -> None:
    choice = pick(trained=trained, room=room, embeds=True)
    assert (choice.ctx, choice.parallel, choice.fits) == (ctx, parallel, True)
