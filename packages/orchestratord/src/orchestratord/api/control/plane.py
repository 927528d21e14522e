"""Makes the FastAPI application of the plain routes out of the route table."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestratord.api.control.holder import edge_request_of
from orchestratord.api.request import refusal_reply, validation_refusal
from orchestratord.routes import Manner, Route

__all__ = ["PlainHandler", "plain_app"]

PlainHandler = Callable[..., Awaitable[object]]


def plain_app(routes: Iterable[Route], handlers: Mapping[str, PlainHandler]) -> FastAPI:
    """Bind every plain row to its handler."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
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
    return app


async def _refused(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, LlorchError):
        raise problem
    return _response(request, problem.refusal)


async def _invalid(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, RequestValidationError):
        raise problem
    return _response(request, validation_refusal(problem.errors()))


async def _http_error(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    code = Code.NOT_FOUND if problem.status_code == 404 else Code.INVALID_REQUEST
    return _response(request, Refusal(code, str(problem.detail)))


def _response(request: Request, refusal: Refusal) -> Response:
    marker = edge_request_of(request).correlation_id
    status, body, headers = refusal_reply(refusal, request.url.path, marker)
    response = Response(body, status)
    for name, value in headers:
        response.headers[name.decode()] = value.decode()
    return response
