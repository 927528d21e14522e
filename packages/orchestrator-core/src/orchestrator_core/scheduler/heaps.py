"""A set of keys by rank whose smallest are at hand: due times, workers by load.

Setting and discarding leave dead entries behind; they are dropped at the top and by rebuilding,
so that the garbage stays in proportion to the living.
"""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["KeyedHeap"]

K = TypeVar("K", bound=str | tuple[str, str])

_GARBAGE_FLOOR = 64


class KeyedHeap(Generic[K]):
    """Keys with a number each; ties go to the smaller key."""

    __slots__ = ("_entries", "_ranks")

    def __init__(self) -> None:
        self._entries: list[tuple[float, K]] = []
        self._ranks: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[K]:
        """The keys in no order of interest, but in the same one in every run."""
        return iter(self._ranks)

    def __contains__(self, key: object) -> bool:
        return key in self._ranks

    def rank(self, key: K) -> float | None:
        """The number of a key."""
        return self._ranks.get(key)

    def set(self, key: K, rank: float) -> None:
        """Give a key its number, new or changed."""
        if self._ranks.get(key) == rank:
            return
        self._ranks[key] = rank
        heapq.heappush(self._entries, (rank, key))
        if len(self._entries) > 2 * len(self._ranks) + _GARBAGE_FLOOR:
            self._entries = [(rank, key) for key, rank in self._ranks.items()]
            heapq.heapify(self._entries)

    def discard(self, key: K) -> None:
        """Take a key out if it is in."""
        self._ranks.pop(key, None)

    def shift(self, by: float) -> None:
        """Add to every number."""
        self._ranks = {key: rank + by for key, rank in self._ranks.items()}
        self._entries = [(rank, key) for key, rank in self._ranks.items()]
        heapq.heapify(self._entries)

    def top_rank(self) -> float | None:
        """The smallest number."""
        entries, ranks = self._entries, self._ranks
        while entries:
            rank, key = entries[0]
            if ranks.get(key) == rank:
                return rank
            heapq.heappop(entries)
        return None

    def smallest(self, count: int) -> list[K]:
        """Up to count keys of the smallest numbers, in order."""
        found: list[tuple[float, K]] = []
        while self._entries and len(found) < count:
            entry = heapq.heappop(self._entries)
            # A key that was set back to an earlier number may have two equal entries; they come
            # off one after the other.
            if self._ranks.get(entry[1]) == entry[0] and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heapq.heappush(self._entries, entry)
        return [key for _, key in found]

    def pop_until(self, rank: float, limit: int) -> list[K]:
        """Take out up to limit keys whose number is not above this one, smallest first."""
        taken: list[K] = []
        while len(taken) < limit:
            top = self.top_rank()
            if top is None or top > rank:
                break
            key = heapq.heappop(self._entries)[1]
            del self._ranks[key]
            taken.append(key)
        return taken
