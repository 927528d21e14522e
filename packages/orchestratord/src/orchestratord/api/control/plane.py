"""Makes the FastAPI application of the plain routes out of the route table."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestratord.api.control.holder import edge_request_of
from orchestratord.api.request import BROKEN, refusal_reply, validation_refusal
from orchestratord.routes import Manner, Route

__all__ = ["PlainHandler", "plain_app"]

PlainHandler = Callable[..., Awaitable[object]]


class _StrictRequest(Request):
    """Reads JSON by the letter: Python's own reader lets text in that no answer can hold."""

    async def json(self) -> object:
        """Read the body."""
        return orjson.loads(await self.body())


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await answer(_StrictRequest(request.scope, request.receive))

        return strict


def plain_app(routes: Iterable[Route], handlers: Mapping[str, PlainHandler]) -> FastAPI:
    """Bind every plain row to its handler."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.route_class = _StrictRoute
    for route in routes:
        if route.manner is Manner.PLAIN:
            app.add_api_route(
                route.path,
                handlers[route.handler],
                methods=[route.method],
                status_code=route.status,
                response_model=route.response,
                name=route.handler,
            )
    app.add_exception_handler(LlorchError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _broken)
    return app


async def _refused(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, LlorchError):
        raise problem
    return _response(request, problem.refusal)


async def _invalid(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, RequestValidationError):
        raise problem
    problems = problem.errors()
    if problems[0]["type"] == "json_invalid":
        reason = problems[0].get("ctx", {}).get("error", "it cannot be read")
        return _response(request, Refusal(Code.INVALID_REQUEST, f"the body is not JSON: {reason}"))
    return _response(request, validation_refusal(problems))


async def _http_error(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    code = Code.NOT_FOUND if problem.status_code == 404 else Code.INVALID_REQUEST
    return _response(request, Refusal(code, str(problem.detail)))


async def _broken(request: Request, problem: Exception) -> Response:  # noqa: ARG001 - the edge logs it.
    return _response(request, Refusal(Code.INTERNAL, BROKEN))


def _response(request: Request, refusal: Refusal) -> Response:
    edge_request = edge_request_of(request)
    status, body, headers = refusal_reply(
        refusal, edge_request.route.path, edge_request.correlation_id
    )
    response = Response(body, status)
    for name, value in headers:
        response.headers[name.decode()] = value.decode()
    return response
