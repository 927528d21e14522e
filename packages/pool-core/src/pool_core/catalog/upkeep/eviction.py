"""Decides which models go when room is wanted: those that nobody has used for the longest; pure.

A protected model never goes, and each model that stays has a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator_core.units import format_bytes, format_duration
from pool_core.catalog.store.accounts import Accounts

__all__ = ["FRESH_S", "Candidate", "Eviction", "plan_eviction"]

FRESH_S: Final = 3600.0
"""A model that was used or added within this time is not taken away for another one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could go; protection says why it must not."""

    id: str
    unused_s: float
    protection: str | None = None


@dataclass(frozen=True, slots=True)
class Eviction:
    """Who goes, in that order, what that frees, and why the others stay."""

    victims: tuple[str, ...] = ()
    freed_bytes: int = 0
    kept: dict[str, str] = field(default_factory=dict[str, str])


def plan_eviction(
    candidates: Sequence[Candidate],
    accounts: Accounts,
    *,
    unused_s: float | None = None,
    free_bytes: int | None = None,
) -> Eviction:
    """Choose by last use; free_bytes is how much more is wanted, unused_s the least idle time.

    Without either nothing goes. What an earlier victim shares with a later one counts once both go.
    """
    if unused_s is None and free_bytes is None:
        return Eviction(kept={it.id: "nothing was asked for" for it in candidates})
    victims: list[str] = []
    kept: dict[str, str] = {}
    freed_bytes = 0
    for it in sorted(candidates, key=lambda it: (-it.unused_s, it.id)):
        reason = _why_kept(it, unused_s)
        if reason is None and free_bytes is not None:
            reason = _why_not_needed(it, victims, accounts, freed_bytes, free_bytes)
        if reason is not None:
            kept[it.id] = reason
            continue
        victims.append(it.id)
        freed_bytes = accounts.freed_bytes(victims)
    return Eviction(tuple(victims), freed_bytes, kept)


def _why_kept(it: Candidate, unused_s: float | None) -> str | None:
    if it.protection is not None:
        return it.protection
    if it.unused_s < FRESH_S:
        return f"it was used {format_duration(max(it.unused_s, 0))} ago"
    if unused_s is not None and it.unused_s < unused_s:
        return f"it was used {format_duration(it.unused_s)} ago"
    return None


def _why_not_needed(
    it: Candidate, victims: Sequence[str], accounts: Accounts, freed_bytes: int, wanted_bytes: int
) -> str | None:
    if freed_bytes >= wanted_bytes:
        return f"{format_bytes(wanted_bytes)} are free without it"
    if accounts.freed_bytes([*victims, it.id]) == freed_bytes:
        return "deleting it frees nothing"
    return None
