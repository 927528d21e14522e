"""Brings one machine up as a cluster of its own, and takes it down without a trace.

Up: orchestratord, then pool-managerd pointed at it, then wait until the pool is online.
Down: the other way round, workers included, also those of a pool daemon that was killed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from llorch_ctl.home.workers import end_workers
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.console.daemons import Daemons, Stopped
from orchestrator_core.console.endings import Ending
from orchestrator_core.console.endpoints import key_for
from orchestrator_core.console.logs import last_lines
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.errors import Code, HostError, LlorchError, Refusal

__all__ = ["HomeView", "bring_down", "bring_up"]

# A pool that drains has been told so by a person and is as registered as any other.
_REGISTERED: Final = frozenset({PoolState.ONLINE, PoolState.DRAINING})
_ONLINE_TIMEOUT_S: Final = 30.0
_WORKER_GRACE_S: Final = 10.0
_DAEMON_GRACE_S: Final = 20.0
_SHOWN_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class HomeView:
    """What a person needs to use this machine."""

    url: str
    key: str | None
    pool_id: str
    fresh: bool

    @property
    def api_base(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"{self.url}/v1"


def bring_up(settings: CliSettings, daemons: Daemons, say: Callable[[str], None]) -> HomeView:
    """Start what does not run yet, and return once the pool is online."""
    orchestrator = daemons.start(ORCHESTRATORD)
    url = orchestrator.run.url.rstrip("/")
    if orchestrator.fresh:
        say(f"orchestratord is running at {url}")
    _leave_other_orchestrator(settings, daemons, url, say)
    variables = {
        "LLORCH_POOL_ORCHESTRATOR_URL": "local",
        "LLORCH_POOL_ORCHESTRATOR_KEY_FILE": str(settings.layout.local_pool_key),
    }
    pool = daemons.start(POOL_MANAGERD, env=variables)
    if pool.fresh:
        say(f"pool-managerd is running at {pool.run.url}")
    trust = Trust.in_run_file(orchestrator.run)
    key = key_for(url, env={}, key_file=settings.layout.admin_key, trust=trust)
    with (
        OrchestratorClient(url, key, trust=trust) as client,
        _pool_client(settings, pool.run) as local,
    ):
        pool_id = local.status().pool_id
        _wait_until_online(client, pool_id, daemons)
    return HomeView(url, key, pool_id, fresh=orchestrator.fresh or pool.fresh)


def bring_down(daemons: Daemons) -> list[Stopped]:
    """Stop everything; the result names only what was running."""
    ended = [
        daemons.stop(POOL_MANAGERD, grace_s=_DAEMON_GRACE_S),
        *end_workers(daemons, grace_s=_WORKER_GRACE_S),
        daemons.stop(ORCHESTRATORD, grace_s=_DAEMON_GRACE_S),
    ]
    return [stopped for stopped in ended if stopped.ending is not Ending.NOT_RUNNING]


def _pool_client(settings: CliSettings, run: RunFile) -> PoolClient:
    trust = Trust.in_run_file(run)
    key = key_for(run.url, env={}, key_file=settings.layout.pool_key, trust=trust)
    return PoolClient(run.url, key, trust=trust)


def _leave_other_orchestrator(
    settings: CliSettings, daemons: Daemons, url: str, say: Callable[[str], None]
) -> None:
    run = daemons.running(POOL_MANAGERD)
    if run is None:
        return
    with _pool_client(settings, run) as local:
        reports_to = (local.status().orchestrator_url or "").rstrip("/")
    if reports_to != url:
        # Its workers run on and are adopted by the daemon that takes its place.
        say(f"pool-managerd reported to {reports_to or 'nobody'}: it is started again for {url}")
        daemons.stop(POOL_MANAGERD, grace_s=_DAEMON_GRACE_S)


def _wait_until_online(client: OrchestratorClient, pool_id: str, daemons: Daemons) -> None:
    pace = daemons.pace
    deadline_s = pace.monotonic_s() + _ONLINE_TIMEOUT_S
    while True:
        reason = "it has not registered"
        try:
            pools = {pool.pool_id: pool.status for pool in client.pools().items}
        except LlorchError as error:
            if not error.refusal.outcome.retry_later:
                raise
            pools, reason = {}, error.refusal.message
        if pools.get(pool_id) in _REGISTERED:
            return
        if pace.monotonic_s() >= deadline_s:
            lines = last_lines(daemons.layout.log_file(POOL_MANAGERD.name), _SHOWN_LINES)
            text = f"the pool {pool_id} is not online after {_ONLINE_TIMEOUT_S:g} s: {reason}"
            raise HostError(Refusal(Code.TIMEOUT, text, {"log_lines": lines}))
        pace.pause(pace.step_s)
