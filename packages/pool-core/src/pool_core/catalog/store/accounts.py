"""Says what the models of a store take up, and what would become free without some of them: pure.

A content is counted once, however many models share it, and it becomes free only when nobody has
it any more: no model that stays, and no name outside of the store.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Accounts", "Holding"]

_NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Holding:
    """The contents of one model with their sizes."""

    id: str
    blobs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Accounts:
    """All models of a store; elsewhere are contents that have a name outside of it too.

    Where a record cannot be read, nobody knows what else it names, and nothing becomes free.
    """

    holdings: Sequence[Holding]
    elsewhere: Collection[str] = ()
    has_unread: bool = False

    def freed(self, leaving: Collection[str]) -> dict[str, int]:
        """The contents that nobody has any more without these models."""
        if self.has_unread:
            return {}
        leaving = frozenset(leaving)
        staying = {sha for it in self.holdings if it.id not in leaving for sha in it.blobs}
        return {
            sha: size
            for it in self.holdings
            if it.id in leaving
            for sha, size in it.blobs.items()
            if sha not in staying and sha not in self.elsewhere
        }

    def freed_bytes(self, leaving: Collection[str]) -> int:
        """The same as one number."""
        return sum(self.freed(leaving).values())

    def shared_bytes(self, model_id: str) -> int:
        """What of a model stays when it alone leaves."""
        return sum(self._blobs(model_id).values()) - self.freed_bytes({model_id})

    def reasons(self, model_id: str) -> list[str]:
        """Why some of a model stays."""
        mine = self._blobs(model_id)
        others = [
            it.id for it in self.holdings if it.id != model_id and mine.keys() & it.blobs.keys()
        ]
        reasons = [f"{other} uses the same content" for other in others]
        if any(sha in self.elsewhere for sha in mine):
            reasons.append("another file of this host is linked to the same content")
        if self.has_unread:
            reasons.append("a record that cannot be read may name the same content")
        return reasons

    @property
    def total_bytes(self) -> int:
        """What all models take up together."""
        blobs = {sha: size for it in self.holdings for sha, size in it.blobs.items()}
        return sum(blobs.values())

    def _blobs(self, model_id: str) -> Mapping[str, int]:
        return next((it.blobs for it in self.holdings if it.id == model_id), _NOTHING)
