"""The order for a worker, and the wait until it is ready."""

import contextlib
from collections.abc import Callable, Generator
from typing import cast

import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    WorkerList,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Exit, LlorchError
from pool_ctl.commands.spawning import make_spec, pick_device, wait_until_ready
from support.pool_fakes import make_worker

GPUS = [
    DeviceReport(
        id=f"GPU-{index}",
        index=index,
        kind="gpu",
        name=f"Card {index}",
        backends=[Backend.CUDA],
        memory_total_bytes=1,
        memory_free_bytes=1,
    )
    for index in range(2)
]


class ScriptedPool:
    """Answers each question about the workers with the next picture."""

    def __init__(self, *pictures: list[WorkerReport]) -> None:
        self.pictures = list(pictures)

    def workers(self) -> WorkerList:
        """The next picture; the last one stays."""
        picture = self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]
        return WorkerList(items=picture)


class Clock:
    """Moves only when the command waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def wait(pool: ScriptedPool, timeout_s: float = 5.0) -> tuple[WorkerReport, list[str]]:
    lines: list[str] = []
    clock = Clock()

    @contextlib.contextmanager
    def shower() -> Generator[Callable[[str], None]]:
        yield lines.append

    pace = Pace(lambda: clock.now_s, clock.pause, 0.1)
    client = cast("PoolClient", pool)
    return wait_until_ready(client, make_worker(), shower(), timeout_s=timeout_s, pace=pace), lines


def test_what_was_not_typed_comes_from_the_catalogue() -> None:
    spec = make_spec("tiny-chat", backend="cpu", gpu=None, ctx=None, parallel=None, devices=[])
    assert (spec.ctx, spec.parallel, spec.device_ids) == (1024, 1, ())
    spec = make_spec("tiny-chat", backend="cuda", gpu=1, ctx=128, parallel=3, devices=GPUS)
    assert (spec.ctx, spec.parallel, spec.device_ids) == (128, 3, ("GPU-1",))


def test_an_unknown_model_is_not_found_and_near_names_are_told() -> None:
    with pytest.raises(LlorchError, match="tiny-chat") as caught:
        make_spec("tiny-cat", backend="cpu", gpu=None, ctx=None, parallel=None, devices=[])
    assert caught.value.refusal.outcome.exit_code is Exit.NOT_FOUND


def test_a_gpu_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(LlorchError, match=r"0 \(Card 0\), 1 \(Card 1\)"):
        pick_device(Backend.CUDA, 7, GPUS)
    with pytest.raises(LlorchError, match="there is: none"):
        pick_device(Backend.ROCM, 0, GPUS)


def test_waits_through_loading_and_tells_each_step_once() -> None:
    loading = make_worker(status=WorkerStatus.LOADING)
    ready = make_worker(status=WorkerStatus.READY)
    report, lines = wait(ScriptedPool([make_worker()], [loading], [loading], [ready]))
    assert report.status is WorkerStatus.READY
    assert [line.split()[1] for line in lines] == ["starting", "loading"]


def test_a_failed_start_is_explained() -> None:
    failed = make_worker(
        status=WorkerStatus.FAILED, error_code="MODEL_INCOMPATIBLE", error_message="bad magic"
    )
    with pytest.raises(LlorchError, match="worker-cpu-0 did not start: bad magic") as caught:
        wait(ScriptedPool([failed]))
    assert caught.value.code is Code.MODEL_INCOMPATIBLE
    assert caught.value.refusal.outcome.exit_code is Exit.FAILURE


def test_a_worker_that_vanishes_is_told() -> None:
    with pytest.raises(LlorchError, match="was stopped while it started"):
        wait(ScriptedPool([]))


def test_a_wait_ends_and_says_how_to_give_up() -> None:
    loading = make_worker(status=WorkerStatus.LOADING)
    with pytest.raises(LlorchError, match="llorch-pool worker stop worker-cpu-0") as caught:
        wait(ScriptedPool([loading]), timeout_s=1.0)
    assert caught.value.refusal.outcome.exit_code is Exit.TIMEOUT
