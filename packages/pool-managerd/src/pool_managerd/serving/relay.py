"""Raw bytes both ways between a caller and a worker, each side paced by the other.

A relay is two protocols that write into each other's transport: no task, timer or copy for a
piece. TLS knows no half-closed connection, so that the end of either side is the end of both.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import structlog

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import KIB
from pool_managerd.runtime.relay_gauges import RelayTally
from pool_managerd.serving.relay_head import Address, Opening, RelayHead

__all__ = ["Relays"]

_DIAL_S: Final = 5.0
_BUFFER_BYTES: Final = 64 * KIB
_SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: llorch-relay\r\n\r\n"
)

_log: Final = structlog.stdlib.get_logger()


class Relays:
    """All relays of this pool: who may have one, how many there are, what they carried."""

    def __init__(
        self,
        judge: Callable[[RelayHead], Address | Refusal],
        say: Callable[[Refusal, RelayHead | None], bytes],
        *,
        limit: int = 1000,
        dial_s: float = _DIAL_S,
    ) -> None:
        self._judge = judge
        self._say = say
        self._limit = limit
        self._dial_s = dial_s
        self._open: set[_Relay] = set()
        self._closing = False
        self.accepted = 0
        self.refused = 0
        self.to_workers_bytes = 0
        self.from_workers_bytes = 0

    @property
    def open(self) -> int:
        """How many there are now."""
        return len(self._open)

    def tally(self) -> RelayTally:
        """What the metrics tell of them; bytes are counted when a relay ends."""
        return RelayTally(
            self.open,
            self.accepted,
            self.refused,
            self.to_workers_bytes,
            self.from_workers_bytes,
        )

    def begin(self, client: asyncio.Transport, opening: Opening) -> bool:
        """Take a connection over and tell so, or answer why not."""
        address = self._judge(opening.head)
        if not isinstance(address, Refusal):
            address = self._refuse_more() or address
        if isinstance(address, Refusal):
            self.turn_away(client, address, opening.head)
            return False
        relay = _Relay(self, client, opening, address)
        self._open.add(relay)
        relay.start(self._dial_s)
        return True

    def judge_again(self, head: RelayHead, address: Address) -> Refusal | None:
        """Why the worker that was dialled may not be the one that was meant; None when it is."""
        now = self._judge(head)
        if isinstance(now, Refusal):
            return now
        if now != address:
            text = f"{head.worker} has been started again meanwhile"
            return Refusal(Code.UNREACHABLE, text, retry_after_s=1)
        return None

    def _refuse_more(self) -> Refusal | None:
        if self._closing:
            return Refusal(Code.DRAINING, "pool-managerd is stopping", retry_after_s=1)
        if len(self._open) >= self._limit:
            return Refusal(Code.RATE, f"{self._limit} relays are open already", retry_after_s=1)
        return None

    def turn_away(
        self, client: asyncio.Transport, refusal: Refusal, head: RelayHead | None = None
    ) -> None:
        """Answer with a refusal and close."""
        self.refused += 1
        worker = None if head is None else head.worker
        _log.info("relay.refused", worker=worker, code=refusal.code, reason=refusal.message)
        client.write(self._say(refusal, head))
        client.close()

    def forget(self, relay: "_Relay") -> None:
        """A relay has ended."""
        self._open.discard(relay)
        self.to_workers_bytes += relay.worker.written_bytes
        self.from_workers_bytes += relay.client.written_bytes

    def close_all(self) -> None:
        """End them all at once, and begin no more."""
        self._closing = True
        for relay in list(self._open):
            relay.abort()


class _Relay:
    """One caller and one worker."""

    def __init__(
        self, relays: Relays, client: asyncio.Transport, opening: Opening, address: Address
    ) -> None:
        self._relays = relays
        self._opening = opening
        self._address = address
        self._dial: asyncio.Task[None] | None = None
        self._ended = False
        self.client = _Side(self.client_gone)
        # Joined by its first word: what a worker says at once would else be lost.
        self.worker = _Side(self.worker_gone, on_made=self._join)
        self.client.connection_made(client)
        client.set_protocol(self.client)

    def start(self, dial_s: float) -> None:
        """Connect to the worker; the caller is not heard meanwhile."""
        self.client.transport.pause_reading()
        self._dial = asyncio.get_running_loop().create_task(self._connect(dial_s))

    async def _connect(self, dial_s: float) -> None:
        host, port = self._address.host, self._address.port
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(dial_s):
                await loop.create_connection(lambda: self.worker, host, port)
        except OSError as error:
            # TimeoutError is one of them.
            self._give_up(error)

    def _join(self) -> None:
        client, worker = self.client, self.worker
        if self._ended:
            worker.abort()
            return
        # Its port may have gone to a stranger while we dialled, who must not hear a word.
        refusal = self._relays.judge_again(self._opening.head, self._address)
        if refusal is not None:
            worker.abort()
            self._refuse(refusal)
            return
        client.lead_to(worker)
        worker.lead_to(client)
        self._relays.accepted += 1
        client.transport.write(_SWITCH)
        if self._opening.rest:
            client.data_received(self._opening.rest)
        client.transport.resume_reading()

    def _give_up(self, error: OSError) -> None:
        if self._ended or self.worker.is_there:
            # What was joined at the last moment ends by its worker's end, not by an answer.
            return
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
        text = f"{self._opening.head.worker} cannot be reached: {reason or error}"
        self._refuse(Refusal(Code.UNREACHABLE, text, retry_after_s=1))

    def _refuse(self, refusal: Refusal) -> None:
        self._end()
        self._relays.turn_away(self.client.transport, refusal, self._opening.head)

    def client_gone(self) -> None:
        """The caller has left: the worker must notice at once, for that is how it is cancelled."""
        self._end()
        if self._dial is not None:
            self._dial.cancel()
        self.worker.abort()

    def worker_gone(self) -> None:
        """The worker has said everything: what is on its way to the caller still gets there."""
        self._end()
        self.client.transport.close()

    def abort(self) -> None:
        """End both sides now."""
        self.client.abort()
        self.client_gone()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._relays.forget(self)


def _nowhere(_: bytes) -> None:
    """Before both sides are there nothing is passed on."""


class _Side(asyncio.Protocol):
    """One end: what it hears is written to the other."""

    def __init__(
        self, on_gone: Callable[[], None], *, on_made: Callable[[], None] = lambda: None
    ) -> None:
        self._on_gone = on_gone
        self._on_made = on_made
        self._pass_on: Callable[[bytes], None] = _nowhere
        self._other: _Side | None = None
        self.is_there = False
        self.written_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """This end is connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        self.is_there = True
        self._on_made()

    def lead_to(self, other: "_Side") -> None:
        """Pass on to that end from now on."""
        self._other = other
        self._pass_on = other.transport.write

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._other is not None:
            self._other.written_bytes += len(data)
            self._pass_on(data)

    def pause_writing(self) -> None:
        """This end reads slowly: hear less of the other."""
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._other is not None:
            self._other.transport.resume_reading()

    def eof_received(self) -> bool:
        """This end says no more; it closes by that."""
        self._on_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """This end is gone."""
        self._on_gone()

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self.is_there:
            self.transport.abort()
