"""Binds every key of the route table to its function and builds the ASGI application.

A row without a function, or a function without a row, stops the start: what is served is what is
declared.
"""

from collections.abc import Iterable, Mapping

from orchestratord.api.control.plane import PlainHandler, plain_app
from orchestratord.api.edge import Edge, HotHandler
from orchestratord.api.gatekeeper import Gatekeeper
from orchestratord.api.matching import RouteMap
from orchestratord.routes import ROUTES, Manner, Route
from orchestratord.runtime.keys.denials import Denials

__all__ = ["build_app", "check_bindings"]


def build_app(
    *,
    gatekeeper: Gatekeeper,
    denials: Denials,
    hot: Mapping[str, HotHandler],
    plain: Mapping[str, PlainHandler],
    routes: Iterable[Route] = ROUTES,
) -> Edge:
    """Make the application that uvicorn serves."""
    rows = tuple(routes)
    check_bindings(rows, Manner.HOT, hot)
    check_bindings(rows, Manner.PLAIN, plain)
    return Edge(
        routes=RouteMap(rows),
        gatekeeper=gatekeeper,
        denials=denials,
        hot=hot,
        plain=plain_app(rows, plain),
    )


def check_bindings(rows: Iterable[Route], manner: Manner, handlers: Mapping[str, object]) -> None:
    """Refuse a table and functions that do not cover each other."""
    declared = {row.handler for row in rows if row.manner is manner}
    undeclared, unbound = set(handlers) - declared, declared - set(handlers)
    if undeclared or unbound:
        raise LookupError(
            f"{manner} routes: no row for {sorted(undeclared)}, no function for {sorted(unbound)}"
        )
