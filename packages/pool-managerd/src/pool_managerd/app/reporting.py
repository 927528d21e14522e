"""Whom this pool reports to: an orchestrator at an address, or whoever comes through SSH."""

from collections.abc import Callable

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import ORCHESTRATORD
from orchestrator_core.daemon.program import Site
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import runfiles
from pool_managerd.runtime.announcer import Target
from pool_managerd.runtime.joining import JoinDesk
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.link import Pace
from pool_managerd.runtime.ports import OrchestratorLink
from pool_managerd.runtime.session import SessionDesk
from pool_managerd.settings import LOCAL, PoolSettings

__all__ = ["Reporting"]


class Reporting:
    """The way to the one orchestrator that the settings leave open."""

    def __init__(self, site: Site[PoolSettings], keyring: Keyring) -> None:
        self._site = site
        self._settings = site.settings
        self.session = SessionDesk(closed=_no_stream(site.settings))
        clock, layout = SystemClock(), site.layout
        self.joining = JoinDesk(
            token_file=layout.pool_join_token,
            credential_file=layout.pool_credential,
            keyring=keyring,
            unix_s=lambda: clock.unix_ms() / 1000,
            monotonic_s=clock.monotonic_s,
            on_joined=lambda: self.session.close("an orchestrator has joined anew"),
        )

    @property
    def target(self) -> Target:
        """Where an address is set the pool goes there; else it waits for whoever comes by SSH."""
        url = self._settings.orchestrator_url
        if url is None:
            return Target(self.session.find, None, self.session.there)
        key_file = self._settings.orchestrator_key_file or self._site.layout.local_pool_key
        return Target(self._finder(url), key_file)

    @property
    def pace(self) -> Pace:
        """Looking for a run file costs nothing, so a neighbour is found again soon."""
        return Pace(longest_s=5.0) if self._settings.orchestrator_url == LOCAL else Pace()

    def dial(self, url: str, key: str) -> OrchestratorLink:
        """Open the link for one session."""
        if self._settings.orchestrator_url is None:
            return self.session.link()
        return AsyncOrchestratorClient(url, key, trust=self._trust_of(url))

    def _trust_of(self, url: str) -> Trust | None:
        if not url.startswith("https:"):
            return None
        if self._settings.orchestrator_url == LOCAL:
            folder, platform = self._site.layout.run_folder, self._site.platform
            run = runfiles.read_live(folder, ORCHESTRATORD, platform)
            return None if run is None else Trust.in_run_file(run)
        if self._settings.orchestrator_pin is not None:
            return Trust(self._settings.orchestrator_pin, is_peers_own=True)
        ca = self._settings.orchestrator_ca
        return None if ca is None else Trust(ca)

    def _finder(self, url: str) -> Callable[[], str | None]:
        if url != LOCAL:
            return lambda: url
        folder, platform = self._site.layout.run_folder, self._site.platform

        def find() -> str | None:
            # A restarted orchestrator may listen elsewhere; its run file always says where.
            run = runfiles.read_live(folder, ORCHESTRATORD, platform)
            return None if run is None else run.url

        return find


def _no_stream(settings: PoolSettings) -> Refusal | None:
    if settings.orchestrator_url is None:
        return None
    text = f"this pool registers by itself at {settings.orchestrator_url}: "
    return Refusal(Code.CONFLICT, f"{text}llorch-pool daemon leave ends that")
