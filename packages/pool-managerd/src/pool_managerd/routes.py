"""The one table of routes: app binds each handler key to a function and refuses a mismatch.

The scope says who may call; the role matrix of the tests is made from this table.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["ROUTES", "Route", "Scope"]


class Scope(StrEnum):
    """Who may call a route."""

    OPEN = "open"
    """Anyone who reaches the port; shows nothing but that this is a pool-managerd."""

    CONTROL = "control"
    """The operator's pool.key and the control key of the running orchestrator session."""

    OPERATOR = "operator"
    """The operator's pool.key alone."""

    JOINED = "joined"
    """The orchestrator that reaches this pool through SSH, by the credential of its join."""

    PEER = "peer"
    """Other pools of the same orchestrator, and the operator: what may be copied between hosts."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path, who may call it and the key of its handler."""

    method: str
    path: str
    scope: Scope
    handler: str


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/health", Scope.OPEN, "health"),
    Route("GET", "/status", Scope.CONTROL, "status"),
    Route("GET", "/devices", Scope.CONTROL, "devices"),
    Route("GET", "/workers", Scope.CONTROL, "workers.list"),
    Route("POST", "/workers/spawn", Scope.CONTROL, "workers.spawn"),
    Route("POST", "/workers/{worker}/stop", Scope.CONTROL, "workers.stop"),
    # What a worker prints may hold prompts, and an orchestrator needs none of it to schedule.
    Route("GET", "/workers/{worker}/logs", Scope.OPERATOR, "workers.logs"),
    Route("GET", "/models", Scope.CONTROL, "models.list"),
    Route("GET", "/models/catalog", Scope.CONTROL, "models.catalog"),
    Route("POST", "/models/info", Scope.CONTROL, "models.info"),
    Route("POST", "/models/download", Scope.CONTROL, "downloads.order"),
    Route("GET", "/models/downloads", Scope.CONTROL, "downloads.list"),
    Route("GET", "/models/downloads/{download}", Scope.CONTROL, "downloads.report"),
    Route("GET", "/models/downloads/{download}/events", Scope.CONTROL, "downloads.events"),
    Route("DELETE", "/models/downloads/{download}", Scope.CONTROL, "downloads.cancel"),
    # An orchestrator may bring models; which files of this host are read or go is a person's word.
    Route("GET", "/models/disk-usage", Scope.OPERATOR, "models.disk_usage"),
    Route("POST", "/models/verify", Scope.OPERATOR, "models.verify"),
    Route("POST", "/models/delete", Scope.OPERATOR, "models.delete"),
    Route("POST", "/models/clean-up", Scope.OPERATOR, "models.clean_up"),
    Route("POST", "/models/import", Scope.OPERATOR, "models.import"),
    # Raw bytes both ways, answered before a route is looked up; here it says what was missing.
    Route("POST", "/workers/{worker}/relay", Scope.CONTROL, "workers.relay"),
    # The one-time token in the body is the key.
    Route("POST", "/session/join", Scope.OPEN, "session.join"),
    Route("GET", "/session", Scope.JOINED, "session.stream"),
    Route("POST", "/session/answers", Scope.JOINED, "session.answer"),
    # What may be copied between hosts; not found where nothing is shared.
    Route("GET", "/peer/models", Scope.PEER, "peer.models"),
    Route("GET", "/blobs/{sha256}", Scope.PEER, "blobs.send"),
    Route("HEAD", "/blobs/{sha256}", Scope.PEER, "blobs.head"),
    Route("POST", "/drain", Scope.CONTROL, "drain"),
    Route("POST", "/resume", Scope.CONTROL, "resume"),
    Route("GET", "/metrics", Scope.OPERATOR, "metrics"),
)
