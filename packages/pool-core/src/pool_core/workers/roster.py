"""Keeps the list of this host's workers: who is there, which names and ports are taken.

Everything here is synchronous, so that two orders in flight can never get the same name or port.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.charge import Charge
from pool_core.workers.memory import Promise
from pool_core.workers.names import choose_name
from pool_core.workers.ports import choose_port, is_free
from pool_core.workers.reconcile import Observed

__all__ = ["Place", "Roster"]

_REMEMBERED: Final = 1000
_KEPT_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Place:
    """What a new worker was given."""

    name: str
    port: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class _Ended:
    generation: int
    incarnation: int


class Roster:
    """The workers in our charge, and a short memory of those that were stopped."""

    def __init__(
        self, reserved_ports: frozenset[int], is_free: Callable[[int], bool] | None = None
    ) -> None:
        self._reserved = reserved_ports
        self._is_free = is_free
        self._charges: dict[str, Charge] = {}
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def __iter__(self) -> Iterator[Charge]:
        return iter(list(self._charges.values()))

    def find(self, worker: str) -> Charge | None:
        """By id or by name."""
        charge = self._charges.get(worker)
        return charge or next((c for c in self if c.record.name == worker), None)

    def add(self, charge: Charge) -> None:
        """Take a worker in."""
        self._charges[charge.record.id] = charge

    def drop_oldest_failures(self) -> list[Charge]:
        """Keep the list of failed workers short; returns those that were dropped."""
        failed = [c for c in self if c.has_ended and not c.resting]
        dropped = failed[:-_KEPT_FAILURES]
        for old in dropped:
            self.remove(old)
        return dropped

    def remove(self, charge: Charge) -> bool:
        """Let a worker go and remember its order; False when its id is another's by now."""
        record = charge.record
        if self._charges.get(record.id) is not charge:
            return False
        del self._charges[record.id]
        self._ended[record.id] = _Ended(record.generation, record.incarnation)
        self._ended.move_to_end(record.id)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        return True

    def settle(self, worker_id: str, generation: int, spec: WorkerSpec) -> Charge | Refusal | None:
        """Answer a repeated or late order from what is known; None means: start it."""
        present = self._charges.get(worker_id)
        if present is None:
            ended = self._ended.get(worker_id)
            return (
                _stale(worker_id, generation) if ended and generation <= ended.generation else None
            )
        if generation < present.record.generation:
            return _stale(worker_id, generation)
        if generation == present.record.generation:
            return present
        if present.has_ended and not (present.resting or present.stopping):
            return None
        if present.record.order != spec or present.stopping:
            return Refusal(
                Code.CONFLICT, f"{worker_id} still runs with other orders: stop it first"
            )
        present.update(generation=generation)
        return present

    def place(self, worker_id: str, spec: WorkerSpec, index: int) -> Place | Refusal:
        """Choose a free name and port; the incarnation counts the processes of one id."""
        port = self.free_port()
        if port is None:
            return Refusal(Code.NO_CAPACITY, "every worker port of this host is taken")
        taken = {c.record.name for c in self if c.record.id != worker_id}
        return Place(choose_name(spec.backend, index, taken), port, self._incarnation(worker_id))

    def free_port(self, rather: int | None = None) -> int | None:
        """The lowest port that no worker of ours and nobody else has, or a given one if free."""
        taken = self._reserved | {c.record.port for c in self if not c.has_ended}
        if rather is not None and rather not in taken and (self._is_free or is_free)(rather):
            return rather
        return choose_port(taken, self._is_free)

    def promises(self, besides: Charge | None = None) -> list[Promise]:
        """The memory that is promised to workers, except to one that is being planned anew."""
        found = (charge.promise() for charge in self if charge is not besides)
        return [promise for promise in found if promise is not None]

    def observed(self) -> list[Observed]:
        """What reconcile compares with the wanted set."""
        return [Observed(c.record.id, c.record.generation, c.record.owner, c.status) for c in self]

    def ended_generations(self) -> dict[str, int]:
        """The last generation of every stopped worker that is remembered."""
        return {worker_id: ended.generation for worker_id, ended in self._ended.items()}

    def _incarnation(self, worker_id: str) -> int:
        present, ended = self._charges.get(worker_id), self._ended.get(worker_id)
        if present is not None:
            return present.record.incarnation + 1
        return ended.incarnation + 1 if ended else 1


def _stale(worker_id: str, generation: int) -> Refusal:
    return Refusal(
        Code.STALE_GENERATION,
        f"{worker_id} has already been started and stopped: generation {generation} is too old",
        {"generation": generation},
    )
