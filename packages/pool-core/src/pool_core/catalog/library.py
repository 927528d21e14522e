"""All acts on the models of one host: the facade that the daemon's threads and commands call.

Everything blocks. Nothing is opened on the network before an act needs it, and acts of several
processes and threads on one store get along with each other.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator_core.config.layout import Layout
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
from orchestrator_core.contracts.pool import DeviceReport, WorkerReport
from orchestrator_core.errors import Code, LlorchError, Refusal
from pool_core.catalog.arrivals.adoption import Adoption
from pool_core.catalog.arrivals.bringing import Site
from pool_core.catalog.arrivals.cache_import import CacheImport
from pool_core.catalog.arrivals.imports import Importing
from pool_core.catalog.arrivals.intake import Intake
from pool_core.catalog.arrivals.pulling import Pulling
from pool_core.catalog.arrivals.telling import Telling
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.host_faults import explain_host
from pool_core.catalog.host_models import HostModels
from pool_core.catalog.information import Inquiry
from pool_core.catalog.known_models import KnownModels
from pool_core.catalog.sharing import SharedModels
from pool_core.catalog.store.naming import stored_id
from pool_core.catalog.store.records import ModelRecord
from pool_core.catalog.store.store import Store
from pool_core.catalog.surroundings import Surroundings
from pool_core.catalog.upkeep.cleaning import Cleaning
from pool_core.catalog.upkeep.verifying import Verification
from pool_core.catalog.usage import usage_of
from pool_core.catalog.views import builtin_views, catalog_views, stored_view
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hub_cache import HubCache

__all__ = ["Library"]

T = TypeVar("T")


def _say_nothing(line: str) -> None:
    del line


class Library:
    """The models that lie on this host, and the ways in which they come and go."""

    def __init__(
        self, store: Store, known: KnownModels, around: Surroundings, builtin: BuiltinModels
    ) -> None:
        self._store = store
        self._known = known
        self._around = around
        self._builtin = builtin

    @classmethod
    def open(
        cls,
        folder: Path,
        layout: Layout,
        env: Mapping[str, str],
        *,
        say: Callable[[str], None] = _say_nothing,
        around: Surroundings | None = None,
    ) -> "Library":
        """The store in a folder, which is made when something is put into it.

        A broken catalogue of the user or a folder that is not named by its whole path raises. say
        hears of what a person should know and no answer tells, such as a damaged record.
        """
        surroundings = around or Surroundings(env)
        known = KnownModels(layout)
        store = Store(folder, clock=surroundings.clock, say=say)
        return cls(store, known, surroundings, BuiltinModels(entries=known.now().entries))

    @property
    def folder(self) -> Path:
        """Where the models lie."""
        return self._store.folder

    def host_models(self) -> HostModels:
        """What workers are started from: the built-in models and those of this store."""
        return HostModels(self._builtin, self._store)

    def shared_models(self) -> SharedModels:
        """What other pools may copy, where the operator shares it."""
        return SharedModels(self._store)

    def models(self, workers: Sequence[WorkerReport] = ()) -> list[StoredModel]:
        """Every model that is here, the built-in ones first."""
        entries = {entry.id: entry for entry in self._known.now().entries}
        return [*builtin_views(self._builtin, entries, workers), *self._stored(workers)]

    def catalog(self) -> list[CatalogItem]:
        """Every model that is known by name, and whether it is here."""
        return catalog_views(self._known.now(), (model.id for model in self.models()))

    def download(
        self,
        order: DownloadOrder,
        *,
        tell: Callable[[DownloadReport], None],
        cancel: Cancel,
        workers: Sequence[WorkerReport] = (),
    ) -> StoredModel | Refusal:
        """Bring a model here whole and verified; tell hears of every stage, the last one included.

        Workers only matter where make_room may delete other models.
        """
        telling = Telling(order.model, tell)
        telling.begin()
        site = Site(
            store=self._store,
            around=self._around,
            cleaning=Cleaning(self._store, workers),
            order=order,
            telling=telling,
            cancel=cancel,
        )
        found = _answered(lambda: self._download(site, workers))
        if isinstance(found, Refusal):
            telling.ended(found)
            return found
        model, note = found
        telling.done(model, note)
        return model

    def info(self, order: InfoOrder, devices: Sequence[DeviceReport]) -> ModelInfo | Refusal:
        """What is known of a model, here or not, and on which of the devices it would fit."""

        def inquiry() -> Inquiry:
            catalog = self._known.now()
            return Inquiry(self._store, catalog, self._builtin, self._around, order, devices)

        return _answered(lambda: inquiry().answer())

    def verify(
        self, order: VerifyOrder, *, tell: Callable[[str, int, int], None], cancel: Cancel
    ) -> list[VerifyReport] | Refusal:
        """Read every byte again; tell hears the name of the file, bytes done and bytes in all."""
        return _answered(lambda: self._verify(order, Verification(self._store, tell, cancel)))

    def delete(self, order: DeleteOrder, workers: Sequence[WorkerReport]) -> DeleteReport | Refusal:
        """Delete one model that no worker holds."""

        def delete() -> DeleteReport | Refusal:
            record = self._record(order.model)
            if isinstance(record, Refusal):
                return record
            return Cleaning(self._store, workers).delete(record.id, order)

        return _answered(delete)

    def clean_up(
        self, order: CleanUpOrder, workers: Sequence[WorkerReport]
    ) -> CleanUpReport | Refusal:
        """Delete what was used longest ago, and what interrupted downloads left behind.

        free_bytes is how much is to become free, beside what lies there free already.
        """
        cleaning = Cleaning(self._store, workers)
        builtin = [report.id for report in self._builtin.reports()]
        return _answered(lambda: cleaning.clean_up(order, builtin))

    def usage(self, workers: Sequence[WorkerReport] = ()) -> DiskUsage:
        """What everything takes up."""
        cache = HubCache(self._around.hub().cache_folder)
        return usage_of(self._store, self._stored(workers), cache)

    def take_in(
        self, order: ImportOrder, *, tell: Callable[[str, int, int], None], cancel: Cancel
    ) -> list[StoredModel] | Refusal:
        """Take files of this host into the store; the files themselves stay where they are."""
        if (order.path is None) is not order.hub_cache:
            line = "name one file, or take everything of the Hugging Face cache"
            return Refusal(Code.INVALID_REQUEST, line, {"field": "path"})
        taken = _answered(lambda: self._take_in(order, tell, cancel))
        if isinstance(taken, Refusal):
            return taken
        ids = {record.id for record in taken}
        return [model for model in self._stored(()) if model.id in ids]

    def _download(
        self, site: Site, workers: Sequence[WorkerReport]
    ) -> tuple[StoredModel, str | None] | Refusal:
        note = "it is here already"
        pulling = Pulling(site, self._known.now())
        entry = pulling.catalog.find(site.order.model)
        if entry is not None and entry.file.source == "builtin":
            found = next((it for it in self.models(workers) if it.id == entry.id), None)
            missing = Refusal(Code.DATA_CORRUPT, f"{entry.id} is missing: install llama-orch again")
            return missing if found is None else (found, note)
        record = pulling.present()
        if record is None:
            record, note = pulling.pull(), None
        return record if isinstance(record, Refusal) else (self._view(record, workers), note)

    def _verify(self, order: VerifyOrder, act: Verification) -> list[VerifyReport] | Refusal:
        reports = self._builtin.reports()
        records = self._store.records.all()
        if order.model is not None:
            ids = [report.id for report in reports]
            model_id = stored_id(order.model, self._known.now(), records, ids)
            if isinstance(model_id, Refusal):
                return model_id
            reports = [report for report in reports if report.id == model_id]
            records = [record for record in records if record.id == model_id]
        found: list[VerifyReport] = []
        for report in reports:
            verdict = act.of_builtin(self._builtin, report)
            if isinstance(verdict, Refusal):
                return verdict
            found.append(verdict)
        for record in records:
            verdict = act.of_record(record)
            if isinstance(verdict, Refusal):
                return verdict
            found.append(verdict)
        return found

    def _take_in(
        self, order: ImportOrder, tell: Callable[[str, int, int], None], cancel: Cancel
    ) -> list[ModelRecord] | Refusal:
        store, around = self._store, self._around
        store.prepare()
        intake = Intake(store.blobs, store.partials, around.free_bytes, around.reserve)
        if order.path is None:
            hub = around.hub()
            adoption = Adoption(HubCache(hub.cache_folder), intake)
            everything = CacheImport(store, self._known.now(), adoption, hub.endpoint, tell, cancel)
            return everything.take_all()
        path = Path(order.path)
        if not path.is_absolute():
            line = f"{order.path} must be named by its whole path on this host"
            return Refusal(Code.INVALID_REQUEST, line, {"field": "path"})
        taken = Importing(store, self._known.now(), intake, tell, cancel).take_file(path, order)
        return taken if isinstance(taken, Refusal) else [taken]

    def _record(self, text: str) -> ModelRecord | Refusal:
        records = self._store.records.all()
        builtin = [report.id for report in self._builtin.reports()]
        model_id = stored_id(text, self._known.now(), records, builtin)
        if isinstance(model_id, Refusal):
            return model_id
        record = next((it for it in records if it.id == model_id), None)
        line = f"{model_id} comes with llama-orch and cannot be deleted"
        return record or Refusal(Code.INVALID_REQUEST, line)

    def _stored(self, workers: Sequence[WorkerReport]) -> list[StoredModel]:
        records = self._store.records.all()
        accounts = self._store.accounts(records)
        return [stored_view(self._store, record, workers, accounts) for record in records]

    def _view(self, record: ModelRecord, workers: Sequence[WorkerReport]) -> StoredModel:
        accounts = self._store.accounts(self._store.records.all())
        return stored_view(self._store, record, workers, accounts)


def _answered(act: Callable[[], T | Refusal]) -> T | Refusal:
    """The answer of an act; what went wrong with the host or a peer is an answer too."""
    try:
        return act()
    except LlorchError as error:
        return error.refusal
    except OSError as error:
        return explain_host(error)
