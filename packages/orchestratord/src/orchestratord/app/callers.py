"""Which clients have to say something next, and for how long they may take their time; pure.

Until the head of a request is whole nobody has shown a key, so that such a connection may cost
neither a place for ever nor the place of somebody else. The server tells what its connections do.
"""

from collections.abc import Callable
from typing import Final, Protocol

from orchestrator_core.units import KIB, MIB

__all__ = ["Caller", "Callers"]

# Between two requests too: clients keep connections in store for seconds, and must be the first to
# close them, because a request that meets our close is lost.
_HEAD_S: Final = 60.0
_BODY_S: Final = 30.0
# Slower than any modem; a body that comes faster may take its time.
_BODY_BYTES_S: Final = 4 * KIB
# Routes have caps of their own; this one ends what never becomes a body, like endless trailers.
_BODY_BYTES: Final = 256 * MIB


class Caller(Protocol):
    """One connection."""

    def hang_up(self) -> None:
        """Close it at once."""
        ...

    @property
    def is_heard(self) -> bool:
        """True when its request has got its answer, or the beginning of it."""
        ...


class Callers:
    """All connections; the time is that of the last look, which is exact enough for patience."""

    def __init__(self, *, now: Callable[[], float], limit: int) -> None:
        self._now = now
        self._looked_at = now()
        self._limit = limit
        self._count = 0
        # In the order of their waiting: who is added again stands at the end.
        self._silent: dict[Caller, float] = {}
        self._sending: dict[Caller, tuple[float, int]] = {}
        self._crowded_out = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, caller: Caller) -> None:
        """Take a connection in; beyond the limit the one that has been silent longest must go."""
        self._count += 1
        self._silent[caller] = self._looked_at
        if self._count > self._limit:
            longest = next(iter(self._silent))
            del self._silent[longest]
            self._crowded_out += 1
            longest.hang_up()

    def leave(self, caller: Caller) -> None:
        """Forget a connection that is closed."""
        self._count -= 1
        self._silent.pop(caller, None)
        self._sending.pop(caller, None)

    def head_came(self, caller: Caller) -> None:
        """A request has begun."""
        self._silent.pop(caller, None)
        # The rest of a body that nobody wanted has come to its end as well.
        self.body_came(caller)

    def answered(self, caller: Caller) -> None:
        """A request is over: the client may send another one."""
        self._silent[caller] = self._looked_at

    def body_goes_on(self, caller: Caller, read_bytes: int) -> None:
        """A body is not whole yet."""
        since, got_bytes = self._sending.get(caller, (self._looked_at, 0))
        self._sending[caller] = (since, got_bytes + read_bytes)
        if got_bytes > _BODY_BYTES:
            caller.hang_up()

    def body_came(self, caller: Caller) -> None:
        """The body is whole; most were so from the beginning."""
        if self._sending:
            self._sending.pop(caller, None)

    def sweep(self) -> int:
        """Hang up on those who take too long; returns how many had to go for want of room."""
        self._looked_at = now = self._now()
        for caller in [*self._too_silent(now), *self._too_slow(now)]:
            caller.hang_up()
        crowded_out, self._crowded_out = self._crowded_out, 0
        return crowded_out

    def _too_silent(self, now: float) -> list[Caller]:
        found: list[Caller] = []
        for caller, since in self._silent.items():
            if now - since <= _HEAD_S:
                break
            found.append(caller)
        return found

    def _too_slow(self, now: float) -> list[Caller]:
        return [
            caller
            for caller, (since, got_bytes) in self._sending.items()
            if now - since > _BODY_S + got_bytes / _BODY_BYTES_S and not caller.is_heard
        ]
