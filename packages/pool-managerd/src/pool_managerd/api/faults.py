"""Turns everything the framework raises into the one error envelope."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from orchestrator_core.errors import Code, LlorchError, Refusal
from pool_managerd.api.edge import internal_error
from pool_managerd.api.replies import explain_validation, refused

__all__ = ["install"]

_CODES: Final = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
}


def install(app: FastAPI) -> None:
    """Replace the framework's own error answers, its 422 included."""
    app.add_exception_handler(HTTPException, _http_fault)
    app.add_exception_handler(RequestValidationError, _validation_fault)
    app.add_exception_handler(LlorchError, _refusal)
    app.add_exception_handler(Exception, _unexpected)


def _http_fault(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, Code.INVALID_REQUEST)
    if code is Code.NOT_FOUND:
        refusal = Refusal(code, f"there is no {request.url.path}")
    elif code is Code.METHOD_NOT_ALLOWED:
        refusal = Refusal(code, f"{request.method} does not go with {request.url.path}")
    else:
        refusal = Refusal(code, str(error.detail))
    return refused(refusal, error.headers)


def _validation_fault(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return refused(explain_validation(error.errors()))


def _refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, LlorchError):
        raise error
    return refused(error.refusal)


def _unexpected(_request: Request, _error: Exception) -> Response:
    return refused(internal_error())
