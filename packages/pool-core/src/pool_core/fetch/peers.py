"""The other pools that one pull may ask, all at once; whoever fails is left out of that pull."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Self, TypeVar

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.pool import Peer
from orchestrator_core.contracts.sharing import SharedModel
from orchestrator_core.errors import Code, LlorchError, Refusal
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.peer import PeerSource
from pool_core.fetch.peer_rules import (
    Absence,
    absence_of,
    patience_s,
    reason_of,
    usable_peers,
)
from pool_core.fetch.settings import PeerTimes
from pool_core.fetch.sources import Wanted

__all__ = ["Peers"]

T = TypeVar("T")


class Peers:
    """The peers of one pull; a context manager for one thread. say hears who failed, and how."""

    def __init__(
        self,
        told: Callable[[], Sequence[Peer]],
        clock: Clock,
        times: PeerTimes,
        cancel: Cancel,
        say: Callable[[str], None],
    ) -> None:
        self._told = told
        self._clock = clock
        self._times = times
        self._cancel = cancel
        self._say = say
        self._due_s = 0.0
        self._facts: dict[str, Peer] = {}
        self._present: dict[str, PeerSource] = {}
        self._absent: dict[str, Absence] = {}
        self._said: list[str] = []

    def holders(self, file: Wanted, *, is_only_way: bool = False) -> list[PeerSource]:
        """Who serves a file, the quickest to answer first; nobody where it has no hash."""
        if file.sha256 is None:
            return []
        found = [peer for peer, holds in self._asked(lambda peer: peer.holds(file)) if holds]
        for peer in found:
            peer.is_only_way = is_only_way
        return found

    def records(self, text: str) -> list[tuple[PeerSource, SharedModel]]:
        """What each peer holds under a name or a reference, in the order of their names."""
        answers = self._asked(lambda peer: peer.records(text))
        found = [(peer, model) for peer, models in answers for model in models]
        return sorted(found, key=lambda each: each[0].pool_id)

    def leave_out(self, source: PeerSource, refusal: Refusal) -> None:
        """Ask it no more, unless it may come back and somebody waits for that."""
        gone = self._present.pop(source.pool_id, None)
        if gone is None:
            return
        gone.close()
        self._absent[gone.pool_id] = absence = absence_of(refusal)
        line = f"{gone.name}{reason_of(refusal)}"
        # Who serves others has not failed, and who fails in the same way again is known for it.
        if absence is not Absence.BUSY and line not in self._said:
            self._said.append(line)
            self._say(line)

    @property
    def failures(self) -> tuple[str, ...]:
        """Who has failed and how, each once."""
        return tuple(self._said)

    def patience_s(self, *, is_only_way: bool) -> float:
        """How long it is worth to wait for those that may come back; 0 where nobody may."""
        absences = self._absent.values()
        waits = (patience_s(it, self._times, is_only_way=is_only_way) for it in absences)
        return max(waits, default=0.0)

    def rest_s(self, dice: float) -> float:
        """How long to rest before the next round; those who wait together do not ask together."""
        return self._times.round_s * (0.75 + dice / 2)

    def recall(self) -> None:
        """Ask those again that may have come back."""
        self._forget([it for it, absence in self._absent.items() if absence is not Absence.OUT])

    def close(self) -> None:
        """Close all connections."""
        for peer in self._present.values():
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _asked(self, question: Callable[[PeerSource], T]) -> list[tuple[PeerSource, T]]:
        """The answers that came in time, in the order in which they came."""
        self._learn()
        peers = tuple(self._present.values())
        if not peers:
            return []
        self._due_s = self._clock.monotonic_s() + self._times.answer_s
        found: list[tuple[PeerSource, T]] = []
        with ThreadPoolExecutor(len(peers), "llorch-peer") as threads:
            asked = {threads.submit(question, peer): peer for peer in peers}
            for future in as_completed(asked):
                try:
                    found.append((asked[future], future.result()))
                except LlorchError as error:
                    if not self._cancel.is_set():
                        self.leave_out(asked[future], _in_time(error.refusal))
        return found

    def _learn(self) -> None:
        """Go by what is told now: a pull may last for hours, and keys change with every start."""
        told = {peer.pool_id: peer for peer in usable_peers(self._told())}
        changed = [it for it, peer in self._facts.items() if told.get(it) != peer]
        # A new key is no new character.
        self._forget([it for it in changed if self._absent.get(it) is not Absence.OUT])
        for pool_id, peer in told.items():
            if pool_id not in self._facts and pool_id not in self._absent:
                self._facts[pool_id] = peer
                self._present[pool_id] = PeerSource(peer, self._clock, self._times, self._is_over)

    def _forget(self, pool_ids: Iterable[str]) -> None:
        for pool_id in pool_ids:
            self._facts.pop(pool_id, None)
            self._absent.pop(pool_id, None)
            gone = self._present.pop(pool_id, None)
            if gone is not None:
                gone.close()

    def _is_over(self) -> bool:
        """Ends every question: each is left soon after, and its thread with it."""
        return self._cancel.is_set() or self._clock.monotonic_s() >= self._due_s


def _in_time(refusal: Refusal) -> Refusal:
    """A question that we gave up ourselves was not answered in time."""
    if refusal.code is not Code.CANCELLED:
        return refusal
    return Refusal(Code.TIMEOUT, "no answer in time")
