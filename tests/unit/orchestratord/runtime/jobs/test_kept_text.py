"""What of an answer is kept is put together from its events as a reader does it."""

import json
from collections.abc import Sequence

import pytest

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.testing.facts import job_id
from orchestratord.runtime.jobs.kept_text import NOTHING_KEPT, KeptText, fold_events
from orchestratord.store.rows import EventRow

ID = job_id(1)


def token(text: str, first: int, count: int = 1) -> tuple[EventKind, object]:
    return EventKind.TOKEN, {"t": text, "i": first, "n": count}


def attempt(keep: int) -> tuple[EventKind, object]:
    return EventKind.ATTEMPT, {"attempt": 2, "reason": "WORKER_LOST", "keep_tokens": keep}


def rows(told: Sequence[tuple[EventKind, object]]) -> list[EventRow]:
    return [
        EventRow(ID, seq, kind, json.dumps(data)) for seq, (kind, data) in enumerate(told, start=1)
    ]


def reasoned(text: str, first: int) -> tuple[EventKind, object]:
    return EventKind.TOKEN, {"t": text, "i": first, "n": 1, "reasoned": True}


NOTHING_YET: list[tuple[EventKind, object]] = []


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (NOTHING_YET, NOTHING_KEPT),
        ([(EventKind.QUEUED, None), (EventKind.STARTED, None)], NOTHING_KEPT),
        ([token("a", 0), token("bc", 1, 2)], KeptText("abc", 3)),
        ([token("a", 0), attempt(1), token("b", 1)], KeptText("ab", 2)),
        ([token("a", 0), attempt(0), token("b", 0)], KeptText("b", 1)),
        ([token("a", 0), token("b", 1), attempt(1), token("c", 1)], KeptText("ac", 2)),
        ([token("a", 0), attempt(0)], NOTHING_KEPT),
        ([token("a", 0), reasoned("b", 1)], NOTHING_KEPT),
        ([reasoned("a", 0), attempt(0), token("b", 0)], KeptText("b", 1)),
    ],
)
def test_a_new_attempt_keeps_only_the_first_tokens(
    told: list[tuple[EventKind, object]], kept: KeptText
) -> None:
    assert fold_events(rows(told)) == kept
