"""The composition root of a running orchestratord: makes every part, owns every task, ends cleanly.

main hands in the settings and a socket that already listens, and holds the lock meanwhile.
"""

import asyncio
import contextlib
import gc
import secrets
import signal
import socket
import sys
from typing import Final

import structlog
import uvloop

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.config.layout import ORCHESTRATORD
from orchestrator_core.daemon.presence import Presence, url_of
from orchestrator_core.daemon.program import Site
from orchestrator_core.errors import Code, HostError, LlorchError, Refusal
from orchestrator_core.idgen import BitPool, IdSource
from orchestratord.app.client_sockets import clients_limit, raise_open_files, set_up_clients
from orchestratord.app.enrolled import Enrolled, open_enrolled
from orchestratord.app.first_keys import open_keyring
from orchestratord.app.parts import Parts, build_parts
from orchestratord.app.server import EmbeddedServer
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.runtime.sweeper import sweep_for_ever
from orchestratord.runtime.upkeep.diary import Diary
from orchestratord.runtime.upkeep.disk_watch import DiskWatch
from orchestratord.runtime.upkeep.retention import Retention
from orchestratord.serving.admission.recovery import restore_jobs
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.sqlite import SqliteStore, StoreOptions

__all__ = ["Daemon", "serve"]

_log: Final = structlog.stdlib.get_logger()

# A request leaves a few hundred objects behind, nearly all without cycles: looking for cycles after
# every 700 of them took a tenth of the time of a call.
_COLLECT_AFTER: Final = (20_000, 20, 20)


_RUN_FILE_RETRY_S: Final = 5.0

_STOPPING: Final = Refusal(
    Code.DRAINING, "the orchestrator is stopping: try again once it is back", retry_after_s=5
)


def serve(site: Site[OrchestratorSettings], listener: socket.socket) -> None:
    """Run the daemon on a loop of its own until it is asked to stop."""
    uvloop.run(Daemon(site, listener).run())


def _write_log(lines: bytes) -> None:
    # A log that cannot be written, on a full disk for example, stops nothing.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()


class Daemon:
    """One orchestratord process."""

    def __init__(self, site: Site[OrchestratorSettings], listener: socket.socket) -> None:
        self._site = site
        self._listener = listener
        self._url = url_of(listener, encrypted=site.tls is not None)
        self._clock: Clock = SystemClock()
        self._catalog = Catalog.of(site.layout)
        self._presence = Presence(daemon=ORCHESTRATORD, layout=site.layout, platform=site.platform)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until TERM or INT; a broken machine or store ends the process with an error."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._ask_to_stop, signum)
        store = await self._open_store()
        diary = Diary(clock=self._clock, write=_write_log)
        store.on_applied = diary.note
        try:
            # Before there is a group of tasks: main can tell what is wrong with a key file.
            ids = IdSource(self._clock)
            keys = await self._open_keys(store, ids)
            enrolled = await self._open_hosts(store, keys, ids)
            async with asyncio.TaskGroup() as tasks:
                await self._serve(store, keys, enrolled, ids, tasks)
        finally:
            self._presence.withdraw()
            await store.close()
            diary.flush()
        if self._failure is not None:
            reason = f"stopped because the state is not safe any more: {self._failure}"
            raise HostError(Refusal(Code.INTERNAL, reason)) from self._failure
        _log.info("orchestrator.stopped")

    async def _open_store(self) -> SqliteStore:
        path = self._site.layout.database

        def tell(size_bytes: int) -> None:
            _log.info("store.checking", path=str(path), size_bytes=size_bytes)

        options = StoreOptions(
            ballast_bytes=self._site.settings.ballast_bytes, on_check=tell, on_failure=self._fail
        )
        return await SqliteStore.open(path, options)

    def _watch_space(self, store: SqliteStore, retention: Retention) -> DiskWatch:
        return DiskWatch(
            store=store,
            ballast=store.ballast,
            folder=store.path.parent,
            reserve_bytes=self._site.settings.disk_reserve_bytes,
            on_short=retention.hurry,
        )

    async def _open_keys(self, store: SqliteStore, ids: IdSource) -> KeyRing:
        keys, written = await open_keyring(
            store=store, layout=self._site.layout, clock=self._clock, ids=ids
        )
        for path in written:
            _log.info("key.written", path=str(path))
        return keys

    async def _open_hosts(self, store: SqliteStore, keys: KeyRing, ids: IdSource) -> Enrolled:
        return await open_enrolled(
            store=store,
            keys=keys,
            clock=self._clock,
            ids=ids,
            ssh_key=self._site.layout.orchestrator_ssh_key,
            declared=self._site.settings.pools,
        )

    async def _serve(
        self,
        store: SqliteStore,
        keys: KeyRing,
        enrolled: Enrolled,
        ids: IdSource,
        tasks: asyncio.TaskGroup,
    ) -> None:
        site, clock = self._site, self._clock
        parts = build_parts(
            settings=site.settings,
            version=site.version,
            hosts=self._own_names(),
            catalog=self._catalog,
            store=store,
            keys=keys,
            enrolled=enrolled,
            clock=clock,
            ids=ids,
            tasks=tasks,
            draw_bits=BitPool(),
            is_stopping=self._stop.is_set,
            on_failure=self._fail,
        )
        restored = await restore_jobs(
            journal=parts.journal,
            jobs=parts.jobs,
            loop=parts.loop,
            catalog=parts.catalog,
            ledger=parts.ledger,
            default_max_tokens=site.settings.default_max_tokens,
        )
        tls = None if site.tls is None else site.tls.context
        server = EmbeddedServer(
            parts.app,
            site.settings.shutdown_grace_s,
            tls,
            now=clock.monotonic_s,
            connections_limit=clients_limit(raise_open_files()),
        )
        retention = Retention(
            store=store,
            clock=clock,
            retention_h=site.settings.retention_h,
            history_h=site.settings.history_h,
        )
        watch = self._watch_space(store, retention)
        # Before the first request: it may be the one that must be refused.
        watch.look()
        duties = [
            tasks.create_task(sweep_for_ever((*parts.checks, server.sweep)), name="sweeper"),
            tasks.create_task(retention.run_for_ever(), name="retention"),
            tasks.create_task(watch.watch_for_ever(), name="disk watch"),
            tasks.create_task(self._announce(server, restored), name="announce"),
            tasks.create_task(self._close_on_stop(server, parts), name="stop"),
        ]
        set_up_clients(self._listener, site.settings.slow_reader_s)
        parts.links.open()
        await server.serve(sockets=[self._listener])
        for duty in duties:
            duty.cancel()
        await parts.close()

    async def _announce(self, server: EmbeddedServer, restored: int) -> None:
        await server.listening.wait()
        # What is there now stays for good; the collector need not look at it again.
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        await self._tell_where()
        if self._site.tls is not None and self._site.tls.doubt is not None:
            _log.warning("tls.doubtful", reason=self._site.tls.doubt)
        _log.info("orchestrator.started", url=self._url, jobs_restored=restored)

    async def _tell_where(self) -> None:
        """Write the run file, on a full disk as soon as there is space."""
        while True:
            try:
                self._presence.announce(
                    url=self._url,
                    version=self._site.version,
                    instance=secrets.token_hex(8),
                    key_file=self._site.layout.admin_key,
                    ca_file=None if self._site.tls is None else self._site.tls.cert_file,
                )
            except OSError as error:
                _log.warning("run_file.not_written", reason=error.strerror or str(error))
                await asyncio.sleep(_RUN_FILE_RETRY_S)
            else:
                return

    async def _close_on_stop(self, server: EmbeddedServer, parts: Parts) -> None:
        """Admission closes first; open answers get their grace, event readers go at once."""
        await self._stop.wait()
        parts.readers.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._site.settings.shutdown_grace_s):
                await parts.open_calls.emptied_or(self._hurry)
        parts.open_calls.end_all(_STOPPING)
        server.should_exit = True

    def _own_names(self) -> tuple[str, ...]:
        name = socket.gethostname().lower()
        bound = str(self._listener.getsockname()[0])
        return (name, f"{name}.local", bound, *self._site.settings.allowed_hosts)

    def _ask_to_stop(self, signum: int) -> None:
        _log.info("orchestrator.stopping", signal=signal.Signals(signum).name)
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _fail(self, problem: BaseException) -> None:
        if self._failure is None:
            self._failure = problem
            if isinstance(problem, LlorchError):
                _log.critical("store.failed", code=problem.code, reason=problem.refusal.message)
        self._hurry.set()
        self._stop.set()
