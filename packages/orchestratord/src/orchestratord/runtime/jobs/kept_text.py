"""What of an answer is kept so that another worker can go on behind it.

A job hands it to the pump of its next attempt; after a restart it is read back from the events
that are on disk.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.ids import JobId
from orchestrator_core.units import MIB
from orchestratord.store.port import JobStore
from orchestratord.store.rows import EventRow
from orchestratord.upstream.loose import as_int, as_object, as_text

__all__ = ["KEPT_LIMIT_BYTES", "NOTHING_KEPT", "KeptText", "committed_text", "fold_events"]

KEPT_LIMIT_BYTES: Final = 1 * MIB
_PAGE_EVENTS: Final = 512


class KeptText(NamedTuple):
    """The beginning of an answer and the number of token events that it came in."""

    text: str
    tokens: int


NOTHING_KEPT: Final = KeptText("", 0)


async def committed_text(store: JobStore, job_id: JobId) -> KeptText:
    """Read what the readers of a stored job were shown and may keep."""
    rows: list[EventRow] = []
    seq = 0
    while page := await store.events_after(job_id, seq, _PAGE_EVENTS):
        rows.extend(row for row in page if row.kind in (EventKind.TOKEN, EventKind.ATTEMPT))
        seq = page[-1].seq
    return fold_events(rows)


def fold_events(rows: Sequence[EventRow]) -> KeptText:
    """Put the text of token events together; a new attempt keeps only the first of the tokens.

    Nothing is kept of an answer that came with thoughts, which are not among its events.
    """
    pieces: list[_Piece] = []
    for row in rows:
        told = as_object(orjson.loads(row.data)) or {}
        if row.kind is EventKind.TOKEN:
            first, tokens = as_int(told.get("i")), as_int(told.get("n"))
            pieces.append(_Piece(first, tokens, as_text(told.get("t")), bool(told.get("reasoned"))))
        elif row.kind is EventKind.ATTEMPT:
            kept = as_int(told.get("keep_tokens"))
            pieces = [piece for piece in pieces if piece.first < kept]
    if any(piece.reasoned for piece in pieces):
        return NOTHING_KEPT
    return KeptText("".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces))


class _Piece(NamedTuple):
    first: int
    tokens: int
    text: str
    reasoned: bool
