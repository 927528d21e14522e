"""Who may have a relay to a worker: the same host check and the same key as for any call.

A relay is taken over below this API (serving.relay), which asks the judge here. What still comes
through as an ordinary call has no encryption or does not ask for the upgrade.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response

from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.charge import ENDED
from pool_managerd.api import correlation
from pool_managerd.api.guard import HostGuard, KeyGuard
from pool_managerd.api.replies import envelope, refused
from pool_managerd.routes import Scope
from pool_managerd.runtime.ports import Workers
from pool_managerd.serving.relay_head import Address, RelayHead

__all__ = ["RelayApi", "RelayJudge"]

# It has proven by its key that it is the one we started: what listens on the port of any other may
# be a stranger, who would be told the worker's key and read prompts.
_PROVEN: Final = frozenset({WorkerStatus.READY, WorkerStatus.BUSY, WorkerStatus.DRAINING})
_HOW: Final = "a relay needs HTTPS and the headers Connection: Upgrade, Upgrade: llorch-relay"


class RelayApi:
    """Answers who asks for a relay in a way that cannot work."""

    async def relay(self, worker: str) -> Response:
        """Say what was missing."""
        return refused(Refusal(Code.INVALID_REQUEST, f"no relay to {worker[:80]!r}: {_HOW}"))


class RelayJudge:
    """Decides about one relay: where to, or why not."""

    def __init__(
        self,
        workers: Workers,
        keys: KeyGuard,
        hosts: HostGuard,
        *,
        is_alive: Callable[[int], bool],
    ) -> None:
        self._workers = workers
        self._keys = keys
        self._hosts = hosts
        self._is_alive = is_alive

    def judge(self, head: RelayHead) -> Address | Refusal:
        """Hold a head against names, key and workers, in the order of every other call."""
        refusal = self._hosts.check(head.values("host"), head.value("origin"))
        if refusal is not None:
            return refusal
        caller = self._keys.check(Scope.CONTROL, head.value("authorization"))
        if isinstance(caller, Refusal):
            return caller
        for report in self._workers.reports():
            if head.worker in (report.id, report.name) and report.status not in ENDED:
                return self._doubt(report) or _address_of(report)
        return _no_worker(head.worker)

    def _doubt(self, report: WorkerReport) -> Refusal | None:
        """Why nobody may speak to what listens on a worker's port."""
        if report.status is WorkerStatus.UNCLAIMED:
            text = f"{report.name} has not shown that it is the worker that this pool has started"
            return Refusal(Code.WORKER_NOT_FOUND, text)
        if report.status not in _PROVEN:
            return Refusal(Code.LOADING, f"{report.name} is not ready yet", retry_after_s=1)
        if report.pid is not None and not self._is_alive(report.pid):
            # Its end will be noticed in a moment; its port is free already.
            return _no_worker(report.name)
        return None

    def say_scheme(self) -> bytes:
        """What whoever speaks plain HTTP to an HTTPS port is told."""
        text = "this port speaks HTTPS: the address begins with https://"
        return self.say(Refusal(Code.INVALID_REQUEST, text), None)

    def say(self, refusal: Refusal, head: RelayHead | None) -> bytes:
        """A refusal as this API answers it, for a connection that ends with it."""
        given = None if head is None else head.value(correlation.HEADER)
        correlation_id = correlation.accept(given)
        body = envelope(refusal).model_dump_json().encode()
        lines = [
            f"HTTP/1.1 {refusal.outcome.http_status} Refused",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"{correlation.HEADER}: {correlation_id}",
            "connection: close",
        ]
        if refusal.outcome.retry_later:
            lines.append(f"retry-after: {refusal.retry_after_s or 1}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _no_worker(name: str) -> Refusal:
    return Refusal(Code.WORKER_NOT_FOUND, f"no worker {name} runs on this host")


def _address_of(report: WorkerReport) -> Address | Refusal:
    """Where a worker listens; one that speaks HTTPS elsewhere must be reached by that itself."""
    if report.url is None:
        if report.port is None:
            return Refusal(Code.LOADING, f"{report.name} does not listen yet", retry_after_s=1)
        return Address("127.0.0.1", report.port)
    parts = urlsplit(report.url)
    if parts.scheme != "http" or not parts.hostname:
        text = f"{report.name} is reached at {report.url} and not through a relay"
        return Refusal(Code.INVALID_REQUEST, text)
    return Address(parts.hostname, parts.port or 80)
