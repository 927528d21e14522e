"""Asks the orchestrator that commands call: whether it answers, by which clock, and of its pools."""

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from llorch_ctl.diagnosis.facts import OrchestratorFacts, PoolFacts
from llorch_ctl.diagnosis.local_reading import own_version
from llorch_ctl.home.connection import connect
from llorch_ctl.settings import CliSettings
from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.console.endpoints import find_address
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import LlorchError

if TYPE_CHECKING:
    from orchestrator_core.clients.orchestrator import OrchestratorClient
    from orchestrator_core.contracts.control import PoolView

__all__ = ["read_orchestrator"]

# Somebody waits for the other findings: what says nothing for so long is a finding itself.
_TIMEOUT_S: Final = 5.0
# The header tells whole seconds, cut off: on average half of one more has passed.
_CUT_S: Final = 0.5


def read_orchestrator(
    settings: CliSettings, url: str | None, clock: Clock | None = None
) -> OrchestratorFacts:
    """Ask it with the key that commands use; what is refused is a fact as well."""
    address = find_address(ORCHESTRATORD, flag=url, env=settings.env, layout=settings.layout)
    version = own_version()
    try:
        with connect(settings, url, timeout_s=_TIMEOUT_S) as client:
            ahead_s = _ahead_s(client, clock or SystemClock())
            health = client.ready()
            pools = tuple(_pool(view) for view in client.pools().items)
    except LlorchError as error:
        return OrchestratorFacts(
            url=address.url, origin=address.origin, version=version, refusal=error.refusal
        )
    return OrchestratorFacts(
        url=address.url,
        origin=address.origin,
        version=version,
        is_ready=health.status == "ok",
        reasons=tuple(health.reasons),
        ahead_s=ahead_s,
        pools=pools,
    )


def _ahead_s(client: "OrchestratorClient", clock: Clock) -> float | None:
    before_ms = clock.unix_ms()
    told = client.send("GET", "/livez").headers.get("date")
    if told is None:
        return None
    try:
        theirs_s = parsedate_to_datetime(told).timestamp() + _CUT_S
    except ValueError:
        return None
    return theirs_s - (before_ms + clock.unix_ms()) / 2000


def _pool(view: "PoolView") -> PoolFacts:
    # What a pool of an older or newer orchestrator does not tell is left out.
    told: dict[str, object] = view.model_dump(mode="json", exclude={"devices", "workers"})
    last_seen_s = told.get("last_seen_s")
    return PoolFacts(
        name=view.pool_id,
        status=str(told.get("status") or ""),
        version=str(told.get("version") or ""),
        last_seen_s=last_seen_s if isinstance(last_seen_s, int | float) else None,
        link=_text(told.get("link")),
        reason=_text(told.get("reason")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
