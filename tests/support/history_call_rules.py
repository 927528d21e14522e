"""Judges the calls of /v1 of a drill: each was told a whole answer, or in order why not.

Pure: records in, violations out. What a client was told is never more than the known answer, and
only the death of the daemon itself breaks a connection.
"""

from collections.abc import Iterator, Mapping

from support.history import Aftermath, Call, History, Violation

__all__ = ["judge_calls"]

# How a call may end in order when only processes die.
_LEGAL_CODES = frozenset({"poison", "attempts_exhausted"})
# What no other worker may go on with ends with its first one.
_LEGAL_WITH_STOP = _LEGAL_CODES | {"worker_lost"}
# What is said to those who are still there when the daemon is asked to stop.
_LEGAL_AT_A_STOP = frozenset({"draining"})
_TRY_LATER = frozenset({"refused 429", "refused 503"})


def judge_calls(
    history: History, aftermath: Aftermath, answers: Mapping[str, str]
) -> Iterator[Violation]:
    """Every call against the known answers, the jobs and the books."""
    yield from _ids_are_their_own(history, aftermath)
    booked = {row.job_id: row for row in aftermath.call_usage}
    for call in history.calls:
        about = call.job_id or f"a call of {call.prompt!r}"
        answer = answers.get(call.prompt)
        for story in (*call.oddities, *_end_is_legal(call), *_text_is_true(call, answer)):
            yield Violation("calls", about, story)
        row = booked.get(call.job_id)
        if row is not None and call.end == "whole" and row.status != "completed":
            yield Violation("usage", about, f"was told wholly, and its usage says {row.status}")


def _ids_are_their_own(history: History, aftermath: Aftermath) -> Iterator[Violation]:
    seen = set(aftermath.jobs)
    for call in history.calls:
        if call.job_id in seen:
            yield Violation("once", call.job_id, "is the id of a call and of another job")
        if call.job_id:
            seen.add(call.job_id)


def _end_is_legal(call: Call) -> Iterator[str]:
    legal = _LEGAL_WITH_STOP if call.has_stop and call.stream else _LEGAL_CODES
    if call.end == "cut":
        if not call.excused:
            yield f"was cut ({call.code}), and the orchestrator lived"
    elif call.end == "error" or call.end.startswith("refused"):
        if call.excused:
            legal |= _LEGAL_AT_A_STOP
        if call.code not in legal and call.end not in _TRY_LATER:
            yield f"{call.end} {call.code}, though only processes were killed"
    elif call.end not in {"whole", "left"}:
        yield f"its stream is {call.end or 'not noted'}"


def _text_is_true(call: Call, answer: str | None) -> Iterator[str]:
    if call.end == "whole" and call.finish is None:
        yield "was told wholly, and no reason why it ended"
    if answer is None:
        return
    if call.end == "whole" and call.text != answer:
        yield f"says {call.text!r} instead of {answer!r}"
    elif not answer.startswith(call.text):
        yield f"says {call.text!r}, no part of {answer!r}"
