"""The composition root of a running daemon: makes every part, owns every task, ends cleanly.

main hands in the settings and a socket that already listens, and holds the lock meanwhile.
"""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import structlog
import uvloop

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.daemon.presence import Presence, url_of
from orchestrator_core.daemon.program import Site
from orchestrator_core.errors import Refusal, error_for
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms import runfiles, sockets
from pool_core.catalog.builtin import BuiltinModels
from pool_core.devices.inventory import probe_devices
from pool_core.workers.supervisor import Supervisor
from pool_managerd.api.guard import HostGuard
from pool_managerd.app.http import create_app
from pool_managerd.runtime.announcer import Announcer, Identity, NoLink, Target
from pool_managerd.runtime.devices import DeviceWatch
from pool_managerd.runtime.keyring import Keyring, read_or_create_key, read_or_draw_instance
from pool_managerd.runtime.link import Pace
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.pool import ChangeDesk, Pool
from pool_managerd.serving.server import EmbeddedServer
from pool_managerd.settings import LOCAL, PoolSettings, find_worker_program, pool_id_for

__all__ = ["Daemon", "serve"]

_ORCHESTRATOR_PORT: Final = 8080
_ENDED: Final = frozenset({WorkerStatus.STOPPED, WorkerStatus.FAILED, WorkerStatus.PARKED})

_log: Final = structlog.stdlib.get_logger()


def serve(site: Site[PoolSettings], listener: socket.socket) -> None:
    """Run the daemon on a loop of its own until it is asked to stop."""
    uvloop.run(Daemon(site, listener).run())


class Daemon:
    """One pool-managerd process."""

    def __init__(self, site: Site[PoolSettings], listener: socket.socket) -> None:
        self._site = site
        self._listener = listener
        self._url = url_of(listener)
        self._presence = Presence(daemon=POOL_MANAGERD, layout=site.layout, platform=site.platform)
        self._instance = read_or_draw_instance(site.layout.pool_folder / "instance")
        metrics = PoolMetrics()
        keyring = Keyring(read_or_create_key(site.layout.pool_key))
        desk = ChangeDesk(metrics)
        self._models = BuiltinModels()
        self._ids = IdSource(SystemClock())
        self._identity = Identity(
            pool_id_for(site.settings), self._url, site.version, _installed_engines()
        )
        self._workers = self._make_supervisor(desk)
        self._devices = DeviceWatch(probe_devices, on_change=desk.devices_changed)
        self._announcer = self._make_announcer(keyring, metrics)
        desk.connect(self._workers, self._announcer)
        pool = Pool(
            identity=self._identity,
            instance=self._instance,
            stop_grace_s=site.settings.stop_grace_s,
            workers=self._workers,
            devices=self._devices,
            models=self._models,
            announcer=self._announcer,
            metrics=metrics,
        )
        metrics.watch(
            pool.devices.reports, pool.workers.reports, lambda: self._announcer.view.connected
        )
        hosts = HostGuard(
            listener.getsockname()[0], socket.gethostname(), site.settings.allowed_hosts
        )
        self._server = EmbeddedServer(create_app(pool, keyring, hosts))

    async def run(self) -> None:
        """Serve until TERM or INT; the workers run on."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._ask_to_stop, signum)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._workers.run()),
                    tasks.create_task(self._devices.run()),
                    tasks.create_task(self._announce()),
                ]
                await self._server.serve(sockets=[self._listener])
                for task in background:
                    task.cancel()
        finally:
            self._presence.withdraw()
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
        )
        _log.info(
            "pool.started",
            pool_id=self._identity.pool_id,
            url=self._url,
            pid=os.getpid(),
            version=self._site.version,
            workers=self._living_workers(),
        )
        await self._announcer.run()

    def _make_supervisor(self, desk: ChangeDesk) -> Supervisor:
        site = self._site
        worker_program = find_worker_program(site.settings, Path(sys.executable))
        if isinstance(worker_program, Refusal):
            raise error_for(worker_program)
        return Supervisor(
            folder=site.layout.pool_folder,
            models=self._models,
            platform=site.platform,
            clock=SystemClock(),
            ids=self._ids,
            instance=self._instance,
            worker_program=worker_program,
            host_env=site.env,
            reserved_ports=_reserved_ports(site.env, self._listener),
            on_change=desk.workers_changed,
        )

    def _make_announcer(self, keyring: Keyring, metrics: PoolMetrics) -> Announcer | NoLink:
        settings = self._site.settings
        if settings.orchestrator_url is None:
            return NoLink()
        key_file = settings.orchestrator_key_file or self._site.layout.local_pool_key
        return Announcer(
            target=Target(self._orchestrator_finder(settings.orchestrator_url), key_file),
            identity=self._identity,
            workers=self._workers,
            devices=self._devices,
            models=self._models,
            keyring=keyring,
            ids=self._ids,
            dial=AsyncOrchestratorClient,
            roll=random.random,
            count=metrics.count_beat,
            # Looking for a run file costs nothing, so a neighbour is found again soon.
            pace=Pace(longest_s=5.0) if settings.orchestrator_url == LOCAL else Pace(),
        )

    def _orchestrator_finder(self, url: str) -> Callable[[], str | None]:
        if url != LOCAL:
            return lambda: url
        folder, platform = self._site.layout.run_folder, self._site.platform

        def find() -> str | None:
            # A restarted orchestrator may listen elsewhere; its run file always says where.
            run = runfiles.read_live(folder, ORCHESTRATORD, platform)
            return None if run is None else run.url

        return find

    def _ask_to_stop(self, signum: int) -> None:
        _log.info("pool.stopping", signal=signal.Signals(signum).name)
        # A second signal does not wait for open answers.
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True

    def _say_goodbye(self) -> None:
        workers = self._living_workers()
        hint = "llorch-pool daemon stop --workers stops them" if workers else None
        _log.info("pool.stopped", workers_left_running=workers, hint=hint)

    def _living_workers(self) -> int:
        return sum(report.status not in _ENDED for report in self._workers.reports())


def _reserved_ports(env: Mapping[str, str], listener: socket.socket) -> frozenset[int]:
    """The ports of the suite's own daemons, which no worker may take."""
    ports = {_ORCHESTRATOR_PORT, int(listener.getsockname()[1])}
    configured = sockets.parse_bind(env.get("LLORCH_ORCHESTRATOR_BIND", ""))
    if not isinstance(configured, Refusal):
        ports.add(configured[1])
    return frozenset(ports)


def _installed_engines() -> tuple[str, ...]:
    try:
        return (f"embedded {metadata.version('xllamacpp')}",)
    except metadata.PackageNotFoundError:
        return ()
