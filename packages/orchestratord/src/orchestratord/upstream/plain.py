"""Makes one small call to a worker and waits for the whole answer: tokenize, template, probes.

Streams do not come through here; they go from an exchange straight to their pump.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.request import Address, build_request, host_header
from orchestratord.upstream.road import DIRECT, Road

__all__ = ["Reply", "call"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's whole answer, whatever its status."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class _Collector:
    """Gathers one answer up to its limit and resolves a future with it."""

    def __init__(self, limit_bytes: int, done: asyncio.Future[Reply | Fault]) -> None:
        self._limit_bytes = limit_bytes
        self._done = done
        self._status = 0
        self._headers: Mapping[bytes, bytes] = {}
        self._body = bytearray()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Keep status and fields."""
        self._status = status
        self._headers = headers

    def data(self, body: bytes) -> None:
        """Keep the bytes, or give up when there are too many; call() then closes."""
        if len(self._body) + len(body) > self._limit_bytes:
            message = f"the worker's answer is over {self._limit_bytes} bytes"
            self._resolve(Fault(FaultKind.PROTOCOL, message, begun=True))
        elif not self._done.done():
            self._body += body

    def ended(self) -> None:
        """Hand the reply over."""
        self._resolve(Reply(self._status, self._headers, bytes(self._body)))

    def broken(self, fault: Fault) -> None:
        """Hand the fault over."""
        self._resolve(fault)

    def _resolve(self, outcome: Reply | Fault) -> None:
        if not self._done.done():
            self._done.set_result(outcome)


async def call(
    address: Address,
    method: str,
    target: str,
    *,
    bearer: str | None,
    body: bytes,
    timeout_s: float,
    limit_bytes: int,
    correlation_id: str | None = None,
    road: Road = DIRECT,
) -> Reply | Fault:
    """Send one request and return the whole answer; the deadline covers all of it."""
    request = build_request(
        method,
        target,
        host_header(address),
        body,
        bearer=bearer,
        accept="application/json",
        correlation_id=correlation_id,
    )
    done: asyncio.Future[Reply | Fault] = asyncio.get_running_loop().create_future()
    opened: Exchange | Fault | None = None
    try:
        async with asyncio.timeout(timeout_s):
            collector = _Collector(limit_bytes, done)
            opened = await open_exchange(
                address, request, collector, connect_timeout_s=None, road=road
            )
            return opened if isinstance(opened, Fault) else await done
    except TimeoutError:
        return Fault(FaultKind.TIMEOUT, f"no whole answer from the worker within {timeout_s:g} s")
    finally:
        if isinstance(opened, Exchange):
            opened.abort()
