"""The wait until a worker is ready."""

import contextlib
import io
import sys
from collections.abc import Callable, Generator
from typing import cast

import click
import pytest

from orchestrator_core.console.endings import Pace
from orchestrator_core.console.render import Format, Output
from orchestrator_core.contracts.pool import (
    SpawnRequest,
    StopRequest,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Exit, LlorchError
from pool_ctl.commands.spawning import bring_up, congratulate, wait_until_ready
from pool_ctl.pools.port import PoolPort
from support.pool_fakes import make_worker


class ScriptedPool:
    """Answers each question about the workers with the next picture."""

    def __init__(self, *pictures: list[WorkerReport]) -> None:
        self.pictures = list(pictures)

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """The next picture; the last one stays."""
        picture = self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]
        return next((report for report in picture if report.id == started.id), None)


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
    port = cast("PoolPort", pool)
    return wait_until_ready(port, make_worker(), shower(), timeout_s=timeout_s, pace=pace), lines


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


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    def isatty(self) -> bool:
        """Somebody is there."""
        return True


def congratulated(monkeypatch: pytest.MonkeyPatch, **params: bool) -> str:
    """What a person at a terminal sees once the worker is ready."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with click.Context(click.Command("spawn")) as context:
        context.params = dict(params)
        congratulate(Output(), make_worker(status=WorkerStatus.READY))
    return terminal.getvalue()


def test_success_is_green_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;32mworker-cpu-0 is ready" in congratulated(monkeypatch)


def test_success_is_plain_without_colour_and_silent_when_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert congratulated(monkeypatch, no_color=True) == "worker-cpu-0 is ready\n"
    assert congratulated(monkeypatch, quiet=True) == ""
    monkeypatch.setenv("NO_COLOR", "1")
    assert congratulated(monkeypatch) == "worker-cpu-0 is ready\n"


class ContestedPool:
    """A host whose ports are taken by others for some starts."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.spawned = self.stopped = 0

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start one more."""
        assert order.spec.model.model_id == "tiny-chat"
        self.spawned += 1
        return make_worker()

    def look(self, started: WorkerReport) -> WorkerReport:
        """Ready once nobody is in the way any more."""
        if self.spawned > self.lost:
            return make_worker(status=WorkerStatus.READY)
        facts = {"error_code": "PORT_IN_USE", "error_message": f"{started.port} is taken"}
        return make_worker(status=WorkerStatus.FAILED, **facts)

    def stop(self, worker: str, order: StopRequest) -> None:
        """Clear the lost start away."""
        assert (worker, order.grace_s) == (make_worker().id, 0)
        self.stopped += 1


def bring(pool: ContestedPool) -> WorkerReport:
    out = Output(Format.JSON, quiet=True)
    with click.Context(click.Command("spawn"), obj=None) as ctx:
        ctx.params["quiet"] = True
        order = SpawnRequest(spec=make_worker().spec)
        return bring_up(cast("PoolPort", pool), order, out, timeout_s=30)


def test_a_port_that_was_lost_to_somebody_else_is_no_end() -> None:
    pool = ContestedPool(lost=2)
    assert bring(pool).status is WorkerStatus.READY
    assert (pool.spawned, pool.stopped) == (3, 2)


def test_a_host_without_a_port_to_be_had_is_told() -> None:
    pool = ContestedPool(lost=9)
    with pytest.raises(LlorchError, match="is taken") as caught:
        bring(pool)
    assert caught.value.code is Code.PORT_IN_USE
    assert (pool.spawned, pool.stopped) == (3, 2)
