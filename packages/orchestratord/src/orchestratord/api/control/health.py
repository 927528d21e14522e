"""Health, metrics and what this server is."""

from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from orchestrator_core.contracts.control import Health

__all__ = ["HealthHandlers"]

_ROOT: Final = """\
llama-orch: every machine you own becomes one LLM endpoint.

OpenAI-compatible API   {url}/v1
Native jobs             {url}/v2/tasks
API document            {url}/openapi.json   (with your key)

The key lies in the file that `llorch up` names.
"""


class HealthHandlers:
    """The routes that say how the daemon is."""

    def __init__(
        self,
        *,
        why_not_ready: Callable[[], tuple[str, ...]],
        registry: CollectorRegistry,
        document: Callable[[], dict[str, object]],
        unix_ms: Callable[[], int],
    ) -> None:
        self._why_not_ready = why_not_ready
        self._registry = registry
        self._document = document
        self._unix_ms = unix_ms

    async def live(self, response: Response) -> Health:
        """The loop turns, or this would not be answered; a doctor compares the clocks by it."""
        response.headers["date"] = formatdate(self._unix_ms() / 1000, usegmt=True)
        return Health(status="ok")

    async def ready(self, response: Response) -> Health:
        """Whether new work is taken."""
        reasons = self._why_not_ready()
        if reasons:
            response.status_code = 503
            return Health(status="not ready", reasons=reasons)
        return Health(status="ok")

    async def metrics(self) -> Response:
        """Prometheus text."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self) -> dict[str, object]:
        """The route table as an OpenAPI document."""
        return self._document()

    async def root(self, request: Request) -> Response:
        """A few lines for a person who opens the address in a browser."""
        url = str(request.base_url).rstrip("/")
        return Response(_ROOT.format(url=url), media_type="text/plain; charset=utf-8")
