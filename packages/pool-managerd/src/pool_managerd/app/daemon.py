"""The composition root of a running daemon: makes every part, owns every task, ends cleanly.

main hands in the settings and a socket that already listens, and holds the lock meanwhile.
"""

import asyncio
import os
import random
import signal
import socket
from importlib import metadata
from typing import Final

import structlog
import uvloop

from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import POOL_MANAGERD
from orchestrator_core.daemon.notify import Notifier, keep_alive, watchdog_interval_s
from orchestrator_core.daemon.presence import Presence, url_of
from orchestrator_core.daemon.program import Site
from orchestrator_core.daemon.services import host_is_stopping
from orchestrator_core.errors import Refusal, error_for
from orchestrator_core.idgen import IdSource
from pool_core.catalog.library import Library
from pool_core.catalog.surroundings import Surroundings
from pool_core.devices.inventory import open_inventory
from pool_core.externals.watch import Externals
from pool_core.workers.charge import ENDED
from pool_core.workers.installation import (
    Installation,
    find_worker_program,
    open_supervisor,
    pool_id_for,
    read_or_draw_instance,
    reserved_ports,
)
from pool_core.workers.supervisor import Supervisor
from pool_managerd.api.guard import HostGuard, KeyGuard
from pool_managerd.api.relay import RelayJudge
from pool_managerd.app.encryption import shown_certificate
from pool_managerd.app.http import create_app
from pool_managerd.app.reporting import Reporting
from pool_managerd.app.sharing import open_sharing
from pool_managerd.runtime.announcer import Announcer, Identity
from pool_managerd.runtime.devices import DeviceWatch
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Keyring, read_or_create_key
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.peers import PeerBook
from pool_managerd.runtime.pool import ChangeDesk, Pool
from pool_managerd.runtime.workforce import Workforce
from pool_managerd.serving.connections import relays_limit, set_up_callers
from pool_managerd.serving.relay import Relays
from pool_managerd.serving.server import EmbeddedServer
from pool_managerd.settings import PoolSettings

__all__ = ["Daemon", "serve"]

_KILL_MARGIN_S: Final = 15.0
_THREADS_S: Final = 3.0

_log: Final = structlog.stdlib.get_logger()


def serve(site: Site[PoolSettings], listener: socket.socket) -> None:
    """Run the daemon on a loop of its own until it is asked to stop."""
    uvloop.run(Daemon(site, listener).run())


class Daemon:
    """One pool-managerd process."""

    def __init__(self, site: Site[PoolSettings], listener: socket.socket) -> None:
        self._site = site
        self._listener = listener
        self._url = url_of(listener, encrypted=site.tls is not None)
        self._notify = Notifier.from_env(site.env)
        self._presence = Presence(daemon=POOL_MANAGERD, layout=site.layout, platform=site.platform)
        self._instance = read_or_draw_instance(site.layout.pool_instance)
        metrics = PoolMetrics()
        keyring = Keyring(read_or_create_key(site.layout.pool_key))
        desk = ChangeDesk(metrics)
        self._peers = PeerBook(pool_id_for(site.settings.pool_id))
        self._library = _open_library(site, self._peers)
        self._sharing, outgoing = open_sharing(site, keyring, self._library, self._peers)
        self._models = self._library.host_models()
        self._inventory = open_inventory()
        self._ids = IdSource(SystemClock())
        self._identity = Identity(
            pool_id_for(site.settings.pool_id),
            self._url,
            site.version,
            _installed_engines(),
            shown_certificate(site.tls),
        )
        self._supervisor = self._make_supervisor(desk)
        self._externals = Externals(
            site.settings.external,
            instance=self._instance,
            clock=SystemClock(),
            roll=random.random,
            on_change=desk.workers_changed,
        )
        self._workers = Workforce(self._supervisor, self._externals)
        self._devices = DeviceWatch(
            self._inventory.look,
            on_change=desk.devices_changed,
            faults=self._inventory.faults,
        )
        self._drain = DrainSwitch(site.layout.pool_drain, desk.drain_changed)
        self._reporting = Reporting(site, keyring)
        self._announcer = self._make_announcer(keyring, metrics)
        self._reporting.session.connect(self._announcer.summon)
        desk.connect(self._workers, self._announcer, self._drain)
        self._downloads = Downloads(
            self._library,
            workers=self._workers.reports,
            new_id=self._ids.download,
            monotonic_s=SystemClock().monotonic_s,
            on_change=desk.models_changed,
        )
        self._desk = ModelDesk(
            self._library,
            workers=self._workers.reports,
            devices=lambda: self._supervisor.left_over(self._devices.reports()),
            on_change=desk.models_changed,
        )
        self._pool = Pool(
            identity=self._identity,
            instance=self._instance,
            stop_grace_s=site.settings.stop_grace_s,
            workers=self._workers,
            devices=self._devices,
            models=self._models,
            announcer=self._announcer,
            metrics=metrics,
            drain=self._drain,
            desk=self._desk,
            downloads=self._downloads,
            joining=self._reporting.joining,
            session=self._reporting.session,
            outgoing=outgoing,
        )
        metrics.watch(
            self._devices.reports, self._workers.reports, lambda: self._announcer.view.connected
        )
        metrics.watch_models(self._models.reports, self._downloads.tally)
        hosts = HostGuard(
            listener.getsockname()[0], socket.gethostname(), site.settings.allowed_hosts
        )
        identify = site.platform.identify
        judge = RelayJudge(
            self._workers,
            KeyGuard(keyring),
            hosts,
            is_alive=lambda pid: identify(pid) is not None,
        )
        relays = Relays(judge.judge, judge.say, limit=relays_limit())
        set_up_callers(listener)
        metrics.watch_relays(relays.tally)
        self._server = EmbeddedServer(
            create_app(self._pool, keyring, hosts),
            None if site.tls is None else site.tls.context,
            relays,
            to_plain=judge.say_scheme,
        )

    async def run(self) -> None:
        """Serve until TERM or INT; the workers run on unless the host itself goes down."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._ask_to_stop, signum)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._workers.run()),
                    tasks.create_task(self._devices.run()),
                    tasks.create_task(self._announce()),
                    tasks.create_task(self._reassure()),
                ]
                await self._server.serve(sockets=[self._listener])
                await self._end_workers_with_host()
                await self._end_model_work()
                for task in background:
                    task.cancel()
        finally:
            self._presence.withdraw()
            self._inventory.close()
        self._say_goodbye()

    async def _announce(self) -> None:
        """Tell the commands of this user, then the orchestrator, that the pool is there."""
        await self._server.listening.wait()
        await self._workers.adopted.wait()
        # The first word to the orchestrator shall name the devices.
        await self._devices.probed.wait()
        self._presence.announce(
            url=self._url,
            version=self._site.version,
            instance=self._instance,
            key_file=self._site.layout.pool_key,
            ca_file=None if self._site.tls is None else self._site.tls.cert_file,
        )
        if self._site.tls is not None and self._site.tls.doubt is not None:
            _log.warning("tls.doubtful", reason=self._site.tls.doubt)
        self._notify.ready(f"{self._living_workers()} workers")
        _log.info(
            "pool.started",
            pool_id=self._identity.pool_id,
            url=self._url,
            pid=os.getpid(),
            version=self._site.version,
            workers=self._living_workers(),
        )
        await self._announcer.run()

    async def _reassure(self) -> None:
        """Tell the service manager that the loop still turns."""
        await keep_alive(self._notify, watchdog_interval_s(self._site.env, os.getpid()))

    async def _end_workers_with_host(self) -> None:
        """Let workers finish in time where everything is about to be killed."""
        if await asyncio.to_thread(host_is_stopping, self._site.env):
            grace_s = self._site.settings.stop_grace_s
            self._notify.extend_timeout(grace_s + _KILL_MARGIN_S)
            await self._supervisor.stop_all(grace_s)

    async def _end_model_work(self) -> None:
        """Let the threads close their files; one that hangs is left, as it would be by a kill."""
        rests = self._downloads.rest(_THREADS_S), self._desk.rest(_THREADS_S)
        if not all(await asyncio.gather(*rests)):
            _log.warning("models.abandoned", hint="the next download goes on where this one was")

    def _make_supervisor(self, desk: ChangeDesk) -> Supervisor:
        site = self._site
        worker_program = find_worker_program(site.settings.worker_program)
        if isinstance(worker_program, Refusal):
            raise error_for(worker_program)
        own_port = int(self._listener.getsockname()[1])
        here = Installation(
            layout=site.layout,
            platform=site.platform,
            env=site.env,
            worker_program=worker_program,
            reserved_ports=reserved_ports(site.layout, site.env, own=[own_port]),
        )
        return open_supervisor(
            here,
            models=self._models,
            probe=self._inventory.look,
            on_change=desk.workers_changed,
            ids=self._ids,
        )

    def _make_announcer(self, keyring: Keyring, metrics: PoolMetrics) -> Announcer:
        return Announcer(
            target=self._reporting.target,
            identity=self._identity,
            workers=self._workers,
            devices=self._devices,
            models=self._models,
            keyring=keyring,
            ids=self._ids,
            dial=self._reporting.dial,
            roll=random.random,
            count=metrics.count_beat,
            drain=self._drain,
            sharing=self._sharing,
            pace=self._reporting.pace,
        )

    def _ask_to_stop(self, signum: int) -> None:
        _log.info("pool.stopping", signal=signal.Signals(signum).name)
        self._pool.begin_stop()
        self._notify.stopping()
        # A second signal does not wait for open answers.
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True

    def _say_goodbye(self) -> None:
        workers = self._living_workers()
        hint = "llorch-pool daemon stop --workers stops them" if workers else None
        _log.info("pool.stopped", workers_left_running=workers, hint=hint)

    def _living_workers(self) -> int:
        return sum(report.status not in ENDED for report in self._supervisor.reports())


def _open_library(site: Site[PoolSettings], peers: PeerBook) -> Library:
    folder = site.settings.models_folder or site.layout.models_folder
    around = Surroundings(site.env, peers=peers.known)
    return Library.open(folder, site.layout, site.env, say=_note, around=around)


def _note(line: str) -> None:
    _log.warning("models.noticed", notice=line)


def _installed_engines() -> tuple[str, ...]:
    try:
        return (f"embedded {metadata.version('xllamacpp')}",)
    except metadata.PackageNotFoundError:
        return ()
