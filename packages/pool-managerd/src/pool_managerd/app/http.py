"""Makes the API from the one route table: a route without a handler refuses to start."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp

from orchestrator_core.errors import Refusal
from pool_managerd.api import faults
from pool_managerd.api.blobs import BlobsApi
from pool_managerd.api.bodies import StrictRequest
from pool_managerd.api.callers import introduce
from pool_managerd.api.downloads import DownloadsApi
from pool_managerd.api.drain import DrainApi
from pool_managerd.api.edge import Edge
from pool_managerd.api.guard import HostGuard, KeyGuard
from pool_managerd.api.host import HostApi
from pool_managerd.api.logs import LogsApi
from pool_managerd.api.models import ModelsApi
from pool_managerd.api.peer_models import PeerModelsApi
from pool_managerd.api.relay import RelayApi
from pool_managerd.api.replies import refused
from pool_managerd.api.session import SessionApi
from pool_managerd.api.workers import WorkersApi
from pool_managerd.routes import ROUTES, Route, Scope
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.pool import Pool

__all__ = ["Handler", "bind", "create_app", "handlers_for"]

Handler = Callable[..., Awaitable[Response]]


def create_app(pool: Pool, keyring: Keyring, hosts: HostGuard) -> ASGIApp:
    """The whole API of one pool."""
    return Edge(bind(ROUTES, handlers_for(pool), KeyGuard(keyring)), hosts)


def handlers_for(pool: Pool) -> dict[str, Handler]:
    """Every handler by the key that the route table uses."""
    host, workers, draining = HostApi(pool), WorkersApi(pool), DrainApi(pool)
    models, downloads = ModelsApi(pool), DownloadsApi(pool)
    session, blobs = SessionApi(pool), BlobsApi(pool)
    return {
        "health": host.health,
        "status": host.status,
        "devices": host.devices,
        "metrics": host.metrics,
        "workers.list": workers.list_workers,
        "workers.spawn": workers.spawn,
        "workers.stop": workers.stop,
        "workers.logs": LogsApi(pool).logs,
        "models.list": models.list_models,
        "models.catalog": models.catalog,
        "models.info": models.info,
        "models.disk_usage": models.disk_usage,
        "models.verify": models.verify,
        "models.delete": models.delete,
        "models.clean_up": models.clean_up,
        "models.import": models.take_in,
        "downloads.order": downloads.order,
        "downloads.list": downloads.list_downloads,
        "downloads.report": downloads.report,
        "downloads.events": downloads.events,
        "downloads.cancel": downloads.cancel,
        "workers.relay": RelayApi().relay,
        "session.join": session.join,
        "session.stream": session.stream,
        "session.answer": session.answer,
        "peer.models": PeerModelsApi(pool).list_models,
        "blobs.send": blobs.blob,
        "blobs.head": blobs.head,
        "drain": draining.drain,
        "resume": draining.resume,
    }


def bind(routes: Sequence[Route], handlers: Mapping[str, Handler], guard: KeyGuard) -> FastAPI:
    """Join routes and handlers one to one."""
    _refuse_mismatch(routes, handlers)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for route in routes:
        router = APIRouter(route_class=_guarded(route.scope, guard))
        router.add_api_route(
            route.path, handlers[route.handler], methods=[route.method], response_model=None
        )
        app.include_router(router)
    faults.install(app)
    return app


def _refuse_mismatch(routes: Sequence[Route], handlers: Mapping[str, Handler]) -> None:
    wanted = {route.handler for route in routes}
    orphans = sorted(wanted ^ set(handlers))
    if orphans:
        raise ValueError(f"routes and handlers do not match: {', '.join(orphans)}")


def _guarded(scope: Scope, guard: KeyGuard) -> type[APIRoute]:
    class GuardedRoute(APIRoute):
        """Checks the key before the body is read or anything else is told."""

        def get_route_handler(self) -> Callable[[Request], Any]:
            answer = super().get_route_handler()

            async def checked(request: Request) -> Response:
                caller = guard.check(scope, request.headers.get("authorization"))
                if isinstance(caller, Refusal):
                    return refused(caller)
                introduce(request, caller)
                return await answer(StrictRequest(request.scope, request.receive))

            return checked

    return GuardedRoute
