"""The models of this host: each act goes to its daemon, or is ours where no daemon runs.

A download that a daemon leaves undone, because it ends, goes on in this process: the store is the
same, and what was fetched is there.
"""

from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import Final, Self, TypeVar

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.resume import Resume
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.errors import Code, LlorchError
from pool_ctl.pools.models.cancel import Cancellation
from pool_ctl.pools.models.port import ModelsPort, TellBytes, TellDownload
from pool_ctl.pools.models.remote import HttpModels
from pool_ctl.pools.models.unheard import unheard, unheard_token
from pool_ctl.pools.turns import Turns
from pool_ctl.settings import CliSettings

__all__ = ["LocalModels"]

T = TypeVar("T")

# The daemon is on this very machine: one that is silent for so long has ended.
_SILENCE_S: Final = 5.0
# A daemon that ends has ended its downloads first and is gone a little later.
_ENDING_S: Final = 20.0


class LocalModels:
    """Chooses anew for each act who carries it out."""

    def __init__(
        self,
        settings: CliSettings,
        say: Callable[[str], None],
        pace: Pace | None = None,
        direct: ModelsPort | None = None,
    ) -> None:
        self._settings = settings
        self._say = say
        self._pace = pace or Pace()
        self._turns = Turns(settings, say, self._pace)
        self._given = direct
        self._noted: set[str] = set()
        self._resume = Resume(
            give_up_s=_SILENCE_S, monotonic_s=self._pace.monotonic_s, pause=self._pace.pause
        )

    def models(self) -> list[StoredModel]:
        """What lies on the host whole."""
        return self._look(lambda models: models.models())

    def downloads(self) -> list[DownloadReport]:
        """The downloads of the daemon."""
        return self._look(lambda models: models.downloads())

    def catalog(self) -> list[CatalogItem]:
        """Every model that is known by name."""
        return self._look(lambda models: models.catalog())

    def info(self, order: InfoOrder) -> ModelInfo:
        """What is known of a model."""
        return self._ask_hub(lambda models: models.info(order))

    def usage(self) -> DiskUsage:
        """What the models take up."""
        return self._look(lambda models: models.usage())

    def download(
        self, order: DownloadOrder, *, tell: TellDownload, cancel: Cancellation
    ) -> StoredModel:
        """Bring a model, whoever begins with it and whoever ends."""
        last: DownloadReport | None = None

        def hear(report: DownloadReport) -> None:
            nonlocal last
            last = report
            tell(report)

        while True:
            try:
                return self._ask_hub(
                    lambda models: models.download(order, tell=hear, cancel=cancel)
                )
            except LlorchError as error:
                undone = error.code is Code.DRAINING or _is_cut(error, last)
                if cancel.is_set() or not undone or not self._has_left():
                    raise
            self._say("pool-managerd has ended: the download goes on without it")

    def leave_download(self, order: DownloadOrder) -> DownloadReport:
        """Leave a download to the daemon."""
        return self._ask_hub(lambda models: models.leave_download(order))

    def verify(
        self, order: VerifyOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[VerifyReport]:
        """Read every byte again."""
        return self._look(lambda models: models.verify(order, tell=tell, cancel=cancel))

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Delete a model; deleting it twice does no harm, so an answer that is lost is asked again."""
        return self._act(lambda models: models.delete(order))

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """Delete what was used longest ago."""
        return self._act(lambda models: models.clean_up(order), order="clean up")

    def take_in(
        self, order: ImportOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[StoredModel]:
        """Take files in; the same file twice is one model."""
        return self._look(lambda models: models.take_in(order, tell=tell, cancel=cancel))

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
    def _direct(self) -> ModelsPort:
        # The store brings much along that a command does not need where a daemon answers.
        from pool_ctl.pools.models.direct import DirectModels

        return self._given or DirectModels(self._settings)

    def _act(self, ask: Callable[[ModelsPort], T], *, order: str | None = None) -> T:
        """Carry an act out that must not meet the start of a worker."""
        return self._turns.act(self._by_daemon(ask), lambda: ask(self._direct), order=order)

    def _look(self, ask: Callable[[ModelsPort], T]) -> T:
        """Carry out what needs no lock of the pool: the store has locks of its own."""
        return self._turns.look(self._by_daemon(ask), lambda: ask(self._direct))

    def _ask_hub(self, ask: Callable[[ModelsPort], T]) -> T:
        """Carry out what asks a hub, which a daemon does with an environment of its own."""
        env, by_daemon = self._settings.env, self._by_daemon(ask)

        def explained(client: PoolClient) -> T:
            self._note(unheard(env))
            try:
                return by_daemon(client)
            except LlorchError as error:
                self._note(unheard_token(env, error.code))
                raise

        return self._turns.look(explained, lambda: ask(self._direct))

    def _note(self, line: str | None) -> None:
        """Say a line once, however often it is true."""
        if line is not None and line not in self._noted:
            self._noted.add(line)
            self._say(line)

    def _by_daemon(self, ask: Callable[[ModelsPort], T]) -> Callable[[PoolClient], T]:
        return lambda client: ask(HttpModels(client.models, self._resume))

    def _has_left(self) -> bool:
        """Tell whether the daemon that left a download undone is gone, or about to be."""
        asked = self._turns.daemon_url
        deadline_s = self._pace.monotonic_s() + _ENDING_S
        while asked is not None and self._pace.monotonic_s() < deadline_s:
            run = self._settings.run_file()
            if run is None or run.url != asked:
                return True
            self._pace.pause(self._pace.step_s)
        return False


def _is_cut(error: LlorchError, last: DownloadReport | None) -> bool:
    """Tell whether we lost the daemon; a download that failed has said so in its last report."""
    return error.code is Code.UNREACHABLE and last is not None and not last.has_ended
