"""What the edge has already found out about a request, for the FastAPI handlers."""

from typing import cast

from fastapi import Request

from orchestratord.api import request as edge_request
from orchestratord.api.edge import REQUEST_KEY
from orchestratord.runtime.keys.keyring import Principal

__all__ = ["edge_request_of", "holder_of"]


def edge_request_of(request: Request) -> edge_request.Request:
    """The edge's own record of this request."""
    return cast("edge_request.Request", request.scope[REQUEST_KEY])


def holder_of(request: Request) -> Principal:
    """Who calls."""
    return edge_request_of(request).holder
