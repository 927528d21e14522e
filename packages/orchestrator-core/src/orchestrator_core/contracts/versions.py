"""Decides whether two parts of the suite may work together: one minor of difference at most. Pure.

The versions come from what a pool tells of itself and from our own distribution.
"""

import re
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["ORCHESTRATOR", "skew_refusal"]

ORCHESTRATOR: Final = "this orchestrator"

_VERSION: Final = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:[.+-]?[0-9A-Za-z][0-9A-Za-z.+-]*)?")
_SHOWN: Final = 64
_MINORS_APART: Final = 1


def skew_refusal(ours: str, theirs: str, who: str, us: str = ORCHESTRATOR) -> Refusal | None:
    """Refuse a version that is more than one minor older or newer than ours.

    who names the other side and us this one, as the message shall say it.
    """
    own, other = _read(ours), _read(theirs)
    details = {"ours": ours[:_SHOWN], "theirs": theirs[:_SHOWN]}
    if other is None:
        message = f"{who} names {theirs[:_SHOWN]!r} as its version: upgrade it to {ours}"
        return Refusal(Code.VERSION_SKEW, message, details)
    if own is None or (own[0] == other[0] and abs(own[1] - other[1]) <= _MINORS_APART):
        return None
    step = f"upgrade {who}" if other < own else f"upgrade {us} or put {ours} on {who}"
    message = f"{who} runs {theirs[:_SHOWN]}, {us} {ours}: {step}, one minor of difference is taken"
    return Refusal(Code.VERSION_SKEW, message, details)


def _read(version: str) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(version)
    return None if found is None else (int(found[1]), int(found[2]))
