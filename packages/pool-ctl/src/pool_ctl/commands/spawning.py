"""Starts a worker and waits until it is ready, telling a person how far it has come."""

import contextlib
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Final

import click

from orchestrator_core.console.endings import Pace
from orchestrator_core.console.render import Output
from orchestrator_core.contracts.pool import SpawnRequest, StopRequest, WorkerReport, WorkerStatus
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.pools.port import PoolPort

__all__ = ["bring_up", "congratulate", "progress", "start", "wait_until_ready"]

_PACE: Final = Pace(step_s=0.1)
_PORT_TRIES: Final = 3
_READY: Final = frozenset({WorkerStatus.READY, WorkerStatus.BUSY})
_UNDER_WAY: Final = frozenset({WorkerStatus.STARTING, WorkerStatus.LOADING})
_ENDED: Final = frozenset({WorkerStatus.FAILED, WorkerStatus.PARKED})


def start(pool: PoolPort, order: SpawnRequest) -> WorkerReport:
    """Start a worker; one that could not even be launched is an error."""
    started = pool.spawn(order)
    if started.status in _ENDED:
        raise _failure(started)
    return started


def bring_up(pool: PoolPort, order: SpawnRequest, out: Output, *, timeout_s: float) -> WorkerReport:
    """Start a worker and wait until it is ready; one that lost its port is started anew.

    Another installation may take a port between our look at it and the engine's.
    """
    for tries_left in reversed(range(_PORT_TRIES)):
        started = start(pool, order)
        try:
            return wait_until_ready(pool, started, progress(out), timeout_s=timeout_s)
        except LlorchError as error:
            if error.code is not Code.PORT_IN_USE or not tries_left:
                raise
            pool.stop(started.id, StopRequest(grace_s=0))
        except KeyboardInterrupt:
            stop_it = f"llorch-pool worker stop {started.name}"
            out.say(f"{started.name} goes on starting; {stop_it} stops it")
            raise
    raise AssertionError("the last try has ended in a worker or in an error")


def wait_until_ready(
    pool: PoolPort,
    started: WorkerReport,
    shower: AbstractContextManager[Callable[[str], None]],
    *,
    timeout_s: float,
    pace: Pace = _PACE,
) -> WorkerReport:
    """Follow a starting worker until it is ready, has failed or takes too long."""
    deadline_s = pace.monotonic_s() + timeout_s
    report, shown = started, None
    with shower as show:
        while report.status in _UNDER_WAY:
            if report.status is not shown:
                shown = report.status
                show(f"{report.name}: {shown.value} {report.model} ...")
            if pace.monotonic_s() >= deadline_s:
                text = (
                    f"{report.name} is not ready after {timeout_s:g} s and goes on "
                    f"{report.status.value}; llorch-pool worker stop {report.name} gives it up"
                )
                raise error_for(Refusal(Code.TIMEOUT, text))
            pace.pause(pace.step_s)
            report = _look(pool, report)
    if report.status not in _READY:
        raise _failure(report)
    return report


def _look(pool: PoolPort, report: WorkerReport) -> WorkerReport:
    seen = pool.look(report)
    if seen is None:
        text = f"{report.name} was stopped while it started"
        raise error_for(Refusal(Code.WORKER_LOST, text))
    return seen


def _failure(report: WorkerReport) -> LlorchError:
    reason = report.error_message or f"it is {report.status.value}"
    try:
        code = Code(report.error_code or Code.WORKER_START_FAILED)
    except ValueError:
        code = Code.WORKER_START_FAILED
    # The code tells the cause; the call itself was carried out, so it is a plain failure.
    return LlorchError(Refusal(code, f"{report.name} did not start: {reason}"))


@contextlib.contextmanager
def progress(out: Output) -> Generator[Callable[[str], None]]:
    """Show one moving line on a terminal, plain lines elsewhere, nothing when quiet."""
    if _is_set("quiet") or not sys.stderr.isatty():
        yield out.say
        return
    from rich.console import Console

    with Console(stderr=True, no_color=_is_set("no_color") or None).status("") as status:
        yield status.update


def congratulate(out: Output, report: WorkerReport) -> None:
    """Tell a person at a terminal that it has worked; a script reads it from the data."""
    if _is_set("quiet") or not sys.stderr.isatty():
        return
    from rich.console import Console
    from rich.text import Text

    text = f"{report.name} is {report.status.value}"
    console = Console(stderr=True)
    if _is_set("no_color") or console.no_color or console.is_dumb_terminal:
        out.say(text)
    else:
        console.print(Text(text, style="bold green"))


def _is_set(option: str) -> bool:
    return bool(click.get_current_context().params.get(option))
