"""The pool of this host: each act goes to its daemon, or is ours where no daemon runs."""

from collections.abc import Callable, Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from orchestrator_core.catalog.external import is_external
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerReport,
    WorkerStatus,
)
from pool_ctl.pools.port import PoolPort
from pool_ctl.pools.remote import HttpPool
from pool_ctl.pools.turns import Turns
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.pools.direct import DirectPool

__all__ = ["LocalPool"]

T = TypeVar("T")


class LocalPool:
    """Chooses anew for each act who carries it out."""

    def __init__(
        self,
        settings: CliSettings,
        say: Callable[[str], None],
        pace: Pace | None = None,
        direct: "DirectPool | None" = None,
    ) -> None:
        self._settings = settings
        self._say = say
        self._pace = pace or Pace()
        self._turns = Turns(settings, say, self._pace)
        self._given = direct

    @property
    def daemon_url(self) -> str | None:
        """Where the daemon listens that gave the last answer; None when we found it ourselves."""
        return self._turns.daemon_url

    def status(self) -> PoolStatusView:
        """The pool at a glance."""
        return self._act(lambda pool: pool.status())

    def devices(self) -> list[DeviceReport]:
        """What the host computes with."""
        return self._look(lambda pool: pool.devices())

    def workers(self) -> list[WorkerReport]:
        """All workers."""
        return self._act(lambda pool: pool.workers())

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start a worker."""
        return self._act(lambda pool: pool.spawn(order), order="start a worker")

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """The newest word about a starting worker; takes the lock only when there is news."""
        seen = self._look(lambda pool: pool.look(started))
        if seen is not None:
            return seen

        def settle(pool: PoolPort) -> WorkerReport | None:
            return self._direct.settle(started) if self._is_ours else pool.look(started)

        return self._act(settle)

    def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker."""
        return self._act(lambda pool: pool.stop(worker, order), order=f"stop {worker}")

    def stop_all(self, grace_s: float) -> int:
        """Stop every worker, also those whose daemon is gone; tells how many were ended."""

        def stop_each(pool: PoolPort) -> int:
            if self._is_ours:
                return self._direct.stop_all(grace_s)
            # What nobody may stop here must not keep the others running.
            found = [report for report in pool.workers() if _may_be_stopped(report)]
            for report in found:
                pool.stop(report.id, StopRequest(grace_s=grace_s))
            return len(found)

        return self._act(stop_each, order="stop every worker")

    def logs(self, worker: str, *, tail: int, follow: bool) -> Iterator[str]:
        """What a worker has written; its file lies here, whoever speaks for the pool."""
        if self._direct.log_path(worker) is not None:
            return self._direct.logs(worker, tail=tail, follow=follow)
        return self._look(lambda pool: pool.logs(worker, tail=tail, follow=follow))

    def close(self) -> None:
        """Close the connection to the daemon."""
        self._turns.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def _direct(self) -> "DirectPool":
        # It brings a whole supervisor along: half of a command's time where a daemon answers.
        from pool_ctl.pools.direct import DirectPool

        return self._given or DirectPool(self._settings, self._say, self._pace)

    @property
    def _is_ours(self) -> bool:
        """True while the act of this moment is carried out here."""
        return self._turns.daemon_url is None

    def _act(self, ask: Callable[[PoolPort], T], *, order: str | None = None) -> T:
        """Carry an act out, holding the lock if it is ours; an order names what it changes."""
        return self._turns.act(
            lambda client: ask(HttpPool(client)), lambda: ask(self._direct), order=order
        )

    def _look(self, ask: Callable[[PoolPort], T]) -> T:
        """Look around without the lock."""
        return self._turns.look(lambda client: ask(HttpPool(client)), lambda: ask(self._direct))


def _may_be_stopped(report: WorkerReport) -> bool:
    return report.status is not WorkerStatus.UNCLAIMED and not is_external(report.spec)
