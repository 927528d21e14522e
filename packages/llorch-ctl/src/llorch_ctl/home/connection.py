"""Opens the client to the orchestrator that a command means, with the key that opens it."""

from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.console.daemons import Daemons
from orchestrator_core.console.endpoints import find_url, key_for, trust_for
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.platforms import select

__all__ = ["connect", "local_daemons"]


def connect(
    settings: CliSettings, url: str | None, *, timeout_s: float = 30.0
) -> OrchestratorClient:
    """Find the orchestrator; no call is made yet."""
    found = find_url(ORCHESTRATORD, flag=url, env=settings.env, layout=settings.layout)
    trust = trust_for(found, ORCHESTRATORD, env=settings.env, layout=settings.layout)
    key = key_for(found, env=settings.env, key_file=settings.layout.admin_key, trust=trust)
    return OrchestratorClient(found, key, timeout_s=timeout_s, trust=trust)


def local_daemons(settings: CliSettings) -> Daemons:
    """The daemons of this installation."""
    return Daemons(settings.layout, select.current(), settings.daemon_env())
