"""The one table of routes: method, path, scope, models, body cap, manner and handler key.

It is data only. The dispatcher, the FastAPI routers, the API document and the role matrix are
made from it; app binds each key to its function and refuses either without the other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import BaseModel

from orchestrator_core.contracts.control import Health, PoolList, PoolView
from orchestrator_core.contracts.joining import (
    Joined,
    JoinRequest,
    JoinToken,
    JoinTokenOrder,
    PoolEnrolment,
    PoolOrder,
    SshIdentity,
)
from orchestrator_core.contracts.keys import KeyCreated, KeyList, KeyOrder, KeyView, UsageList
from orchestrator_core.contracts.openai import ChatRequest, ModelCard, ModelCards
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    PoolStatusView,
    SpawnRequest,
    WorkerList,
    WorkerReport,
)
from orchestrator_core.contracts.tasks import JobView, TaskAccepted, TaskList, TaskSubmit
from orchestrator_core.units import KIB, MIB

__all__ = ["ROUTES", "Manner", "Route", "Scope"]


class Scope(StrEnum):
    """Who may call a route; operator includes user, admin includes all but pool."""

    OPEN = "open"
    USER = "user"
    OPERATOR = "operator"
    ADMIN = "admin"
    POOL = "pool"
    METRICS = "metrics"


class Manner(StrEnum):
    """Hot routes are raw ASGI; plain ones go through FastAPI."""

    HOT = "hot"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table."""

    method: str
    path: str
    scope: Scope
    manner: Manner
    handler: str
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    status: int = 200
    body_cap_bytes: int = 64 * KIB
    deep: bool = False
    """Whether the last parameter may hold slashes, as the names of models do."""


_V1_BODY: Final = 32 * MIB
_V2_BODY: Final = 1 * MIB


def _hot(method: str, path: str, handler: str, summary: str, **more: object) -> Route:
    return Route(method, path, Scope.USER, Manner.HOT, handler, summary, **more)  # pyright: ignore[reportArgumentType] - keywords of Route.


def _plain(method: str, path: str, scope: Scope, handler: str, summary: str, **more: object) -> Route:  # fmt: skip
    return Route(method, path, scope, Manner.PLAIN, handler, summary, **more)  # pyright: ignore[reportArgumentType] - keywords of Route.


ROUTES: Final = (
    _hot("POST", "/v1/chat/completions", "openai.chat", "Answer a conversation",
         request=ChatRequest, body_cap_bytes=_V1_BODY),
    _hot("GET", "/v1/models", "openai.models", "List the models that can answer",
         response=ModelCards),
    _hot("GET", "/v1/models/{id}", "openai.model", "Show one model", response=ModelCard,
         deep=True),
    _hot("POST", "/v2/tasks", "tasks.submit", "Queue a job durably",
         request=TaskSubmit, response=TaskAccepted, status=202, body_cap_bytes=_V2_BODY),
    _hot("GET", "/v2/tasks/{id}/events", "tasks.events", "Stream a job's events, with replay"),
    _plain("GET", "/v2/tasks", Scope.USER, "tasks.list", "List jobs, newest first",
           response=TaskList),
    _plain("GET", "/v2/tasks/{id}", Scope.USER, "tasks.show", "Show one job", response=JobView),
    _plain("DELETE", "/v2/tasks/{id}", Scope.USER, "tasks.delete", "Cancel a job",
           response=JobView),
    _plain("POST", "/v2/tasks/{id}/cancel", Scope.USER, "tasks.cancel", "Cancel a job",
           response=JobView),
    _plain("GET", "/v2/pools", Scope.OPERATOR, "pools.list", "List pools", response=PoolList),
    _plain("POST", "/v2/pools", Scope.ADMIN, "pools.enrol", "Enrol a host that SSH reaches",
           request=PoolOrder, response=PoolEnrolment, status=202),
    _plain("POST", "/v2/pools/join-tokens", Scope.ADMIN, "pools.issue_token",
           "Make a one-time token for a host", request=JoinTokenOrder, response=JoinToken,
           status=201),
    _plain("POST", "/v2/pools/join", Scope.OPEN, "pools.join",
           "Become a pool by a one-time token", request=JoinRequest, response=Joined),
    _plain("GET", "/v2/pools/{id}", Scope.OPERATOR, "pools.show", "Show one pool",
           response=PoolView),
    _plain("DELETE", "/v2/pools/{id}", Scope.ADMIN, "pools.remove", "Remove a pool",
           response=Health),
    _plain("POST", "/v2/pools/{id}/drain", Scope.OPERATOR, "pools.drain",
           "Let a pool start no more workers", response=PoolStatusView),
    _plain("POST", "/v2/pools/{id}/resume", Scope.OPERATOR, "pools.resume",
           "Let a pool start workers again", response=PoolStatusView),
    _plain("POST", "/v2/pools/{id}/workers/spawn", Scope.OPERATOR, "pools.spawn",
           "Start a worker of one's own on a pool", request=SpawnRequest, response=WorkerReport,
           status=201),
    _plain("GET", "/v2/ssh-key", Scope.ADMIN, "pools.ssh_identity",
           "Show the key by which the orchestrator logs in", response=SshIdentity),
    _plain("GET", "/v2/workers", Scope.OPERATOR, "workers.list", "List workers of all pools",
           response=WorkerList),
    _plain("POST", "/v2/workers/{id}/stop", Scope.OPERATOR, "workers.stop", "Stop a worker",
           response=Health, status=202),
    _plain("POST", "/v2/pools/register", Scope.POOL, "pools.register", "Open a pool's session",
           request=PoolRegister, response=PoolRegistered, body_cap_bytes=_V2_BODY),
    _plain("POST", "/v2/pools/{id}/heartbeat", Scope.POOL, "pools.heartbeat", "Report",
           request=Heartbeat, response=HeartbeatReply, body_cap_bytes=_V2_BODY),
    _plain("POST", "/v2/keys", Scope.ADMIN, "keys.create", "Make a key and show it once",
           request=KeyOrder, response=KeyCreated, status=201),
    _plain("GET", "/v2/keys", Scope.ADMIN, "keys.list", "List keys", response=KeyList),
    _plain("DELETE", "/v2/keys/{id}", Scope.ADMIN, "keys.revoke", "Revoke a key",
           response=KeyView),
    _plain("GET", "/v2/usage", Scope.USER, "usage.list", "Sum up usage per key and model",
           response=UsageList),
    _plain("GET", "/livez", Scope.OPEN, "health.live", "The event loop turns", response=Health),
    _plain("GET", "/readyz", Scope.OPEN, "health.ready", "New work is taken", response=Health),
    _plain("GET", "/metrics", Scope.METRICS, "health.metrics", "Prometheus text"),
    _plain("GET", "/openapi.json", Scope.USER, "health.openapi", "This table as a document"),
    _plain("GET", "/", Scope.OPEN, "health.root", "What this server is"),
)  # fmt: skip
