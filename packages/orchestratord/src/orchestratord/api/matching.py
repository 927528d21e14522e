"""Finds the row of the route table for a method and a path; pure, built once from the table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator_core.errors import Code, Refusal
from orchestratord.routes import Route

__all__ = ["Match", "RouteMap", "without_slash"]


@dataclass(frozen=True, slots=True)
class Match:
    """A row and what its path held."""

    route: Route
    params: Mapping[str, str]


class RouteMap:
    """Exact paths by one look-up; paths with a parameter by their segments.

    A path that stands in the table as it is, is never read as a parameter of another row.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Match] = {}
        self._exact_paths: set[str] = set()
        self._patterns: list[tuple[tuple[str, ...], Route]] = []
        for route in routes:
            if "{" in route.path:
                self._patterns.append((tuple(route.path.split("/")), route))
            else:
                self._exact[route.method, route.path] = Match(route, {})
                self._exact_paths.add(route.path)

    def find(self, method: str, path: str) -> Match | Refusal:
        """Find the row; a trailing slash is accepted because some clients send one."""
        path = without_slash(path)
        wanted = "GET" if method == "HEAD" else method
        found = self._exact.get((wanted, path)) or self._match(wanted, path)
        if found is not None:
            return found
        allowed = self._methods(path)
        if allowed:
            names = ", ".join(allowed)
            message = f"{path} takes {names}, not {method}"
            return Refusal(Code.METHOD_NOT_ALLOWED, message, {"allow": names})
        return Refusal(Code.NOT_FOUND, f"there is no {path} here")

    def _match(self, method: str, path: str) -> Match | None:
        if path in self._exact_paths:
            return None
        segments = tuple(path.split("/"))
        for pattern, route in self._patterns:
            if route.method == method:
                params = _params(pattern, segments, deep=route.deep)
                if params is not None:
                    return Match(route, params)
        return None

    def _methods(self, path: str) -> list[str]:
        segments = tuple(path.split("/"))
        if path in self._exact_paths:
            return sorted(method for method, exact in self._exact if exact == path)
        methods = {
            route.method
            for pattern, route in self._patterns
            if _params(pattern, segments, deep=route.deep) is not None
        }
        return sorted(methods)


def without_slash(path: str) -> str:
    """The path as the table spells it."""
    return path.removesuffix("/") if len(path) > 1 else path


def _params(
    pattern: tuple[str, ...], segments: tuple[str, ...], *, deep: bool
) -> dict[str, str] | None:
    last = len(pattern) - 1
    if deep and len(segments) > len(pattern) and all(segments[last:]):
        segments = (*segments[:last], "/".join(segments[last:]))
    if len(pattern) != len(segments):
        return None
    params: dict[str, str] = {}
    for expected, found in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not found:
                return None
            params[expected[1:-1]] = found
        elif expected != found:
            return None
    return params
