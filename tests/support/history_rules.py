"""Judges a recorded history: what was promised to the clients against what came of it.

Pure: records in, violations out, in the order of the rules. An I-number is that of the list of
invariants: I1 nothing is lost, I2 one end, I3 one attempt at a time, I4 few attempts, I5 and I6
streams, I12 rest at last.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping

from support.history import LIVE, TERMINAL_KINDS, Aftermath, History, JobFact, Violation
from support.history_call_rules import judge_calls
from support.history_streams import judge_log, judge_readings

__all__ = ["LEGAL_FAILURES", "violations"]

LEGAL_FAILURES = frozenset({"POISON", "ATTEMPTS_EXHAUSTED"})
"""How a job may fail when only processes die: it took two with it, or none of its tries lived."""

_ATTEMPTS_MAX = 3
_OWN_RESTART = "ORCHESTRATOR_RESTART"
_CODE_OF = {"cancelled": "CANCELLED", "expired": "EXPIRED"}


def violations(
    history: History, aftermath: Aftermath, answers: Mapping[str, str]
) -> list[Violation]:
    """Every promise that was not kept; answers are the known ones, by prompt."""
    found = [
        *_nothing_is_lost(history, aftermath),
        *_nothing_is_doubled(history, aftermath),
        *_cancels_hold(history, aftermath),
        *_usage_is_written_once(aftermath),
        *judge_readings(history, aftermath),
        *judge_calls(history, aftermath, answers),
    ]
    prompts = {job_id: it.prompt for it in history.submissions for job_id in it.job_ids}
    for job in aftermath.jobs.values():
        answer = answers.get(prompts.get(job.id, ""))
        found += [Violation("I2", job.id, story) for story in _one_end(job)]
        found += [Violation("I3", job.id, story) for story in _one_attempt_at_a_time(job)]
        found += [Violation("I4", job.id, story) for story in _few_attempts(job)]
        found += _what_it_says(job, answer)
    found += [Violation("I12", "after the faults", story) for story in aftermath.unrest]
    found += [Violation("database", "after the faults", story) for story in aftermath.damage]
    return found


def _nothing_is_lost(history: History, aftermath: Aftermath) -> Iterator[Violation]:
    for submission in history.submissions:
        about = submission.idempotency_key
        for words in submission.refusals:
            yield Violation("I1", about, f"was refused: {words}")
        if not submission.job_ids and not submission.refusals:
            yield Violation("I1", about, f"was sent {submission.sent} times and never answered")
        for job_id in sorted(set(submission.job_ids)):
            job = aftermath.jobs.get(job_id)
            if job is None:
                yield Violation("I1", about, f"was acknowledged as {job_id}, which is not there")
            elif job.status in LIVE:
                yield Violation("I1", about, f"{job_id} is still {job.status}")
    for job_id, words in history.lost:
        yield Violation("I1", job_id, f"was acknowledged and then denied: {words}")


def _nothing_is_doubled(history: History, aftermath: Aftermath) -> Iterator[Violation]:
    by_key: dict[str, list[str]] = {}
    for job in aftermath.jobs.values():
        by_key.setdefault(job.idempotency_key or "", []).append(job.id)
    owners: dict[str, str] = {}
    for submission in history.submissions:
        about = submission.idempotency_key
        ids = sorted({*submission.job_ids, *by_key.pop(about, [])})
        if len(ids) > 1:
            yield Violation("once", about, f"one key, {len(ids)} jobs: {', '.join(ids)}")
        for job_id in ids:
            if (other := owners.setdefault(job_id, about)) != about:
                yield Violation("once", job_id, f"is the job of {other} and of {about}")
    for key, ids in by_key.items():
        for job_id in ids:
            yield Violation("once", job_id, f"nobody asked for it (key {key or 'none'})")


def _one_end(job: JobFact) -> Iterator[str]:
    ends = [event for event in job.events if event.kind in TERMINAL_KINDS]
    if len(ends) != (0 if job.status in LIVE else 1):
        yield f"is {job.status} and has {len(ends)} terminal events"
        return
    for event in ends:
        said = json.loads(event.data).get("code") if event.kind == "error" else None
        due = None if job.status == "completed" else _CODE_OF.get(job.status, job.error_code)
        if said != due or (event.kind == "end") != (job.status == "completed"):
            yield f"is {job.status} {job.error_code or ''} and its last event is {event.data}"
    if job.status == "failed" and job.error_code not in LEGAL_FAILURES:
        yield f"failed with {job.error_code}, though only processes were killed"


def _one_attempt_at_a_time(job: JobFact) -> Iterator[str]:
    for before, after in itertools.pairwise(job.attempts):
        if before.ended_at_ms is None or before.ended_at_ms > after.started_at_ms:
            yield f"attempt {after.attempt} began before attempt {before.attempt} was over"


def _few_attempts(job: JobFact) -> Iterator[str]:
    numbers = [it.attempt for it in job.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"its attempts are {numbers}"
    told = [it for it in job.attempts if it.reason != _OWN_RESTART]
    if len(told) > _ATTEMPTS_MAX:
        yield f"{len(told)} attempts besides those that our own restarts broke"
    open_ones = [it.attempt for it in job.attempts if it.status == "running"]
    if open_ones and job.status not in LIVE:
        yield f"is {job.status} and attempt {open_ones[0]} still runs"
    ended = [it.attempt for it in job.attempts if it.status == "ended"]
    if len(ended) > 1 or (ended and ended[0] != len(numbers)):
        yield f"attempts {ended} of {len(numbers)} came to an end of their own"


def _what_it_says(job: JobFact, answer: str | None) -> Iterator[Violation]:
    text, wrong = judge_log(job)
    yield from wrong
    begun = [json.loads(it.data) for it in job.events if it.kind == "attempt"]
    kept = {it["attempt"]: it["keep_tokens"] for it in begun}
    for attempt in job.attempts:
        if attempt.attempt in kept and attempt.kept_tokens != kept[attempt.attempt]:
            told = f"attempt {attempt.attempt} told {kept[attempt.attempt]} kept tokens"
            yield Violation("I6", job.id, f"{told}, its row has {attempt.kept_tokens}")
    if job.status == "completed":
        if answer is not None and text.text != answer:
            yield Violation("answers", job.id, f"says {text.text!r} instead of {answer!r}")
        if job.output is not None and job.output != text.text:
            yield Violation("answers", job.id, f"keeps {job.output!r}, told was {text.text!r}")
        if job.tokens_out != text.tokens:
            yield Violation("answers", job.id, f"{job.tokens_out} tokens, told {text.tokens}")
    elif answer is not None and not answer.startswith(text.text):
        yield Violation("answers", job.id, f"says {text.text!r}, no part of {answer!r}")


def _cancels_hold(history: History, aftermath: Aftermath) -> Iterator[Violation]:
    asked = {cancel.job_id for cancel in history.cancels}
    for job in aftermath.jobs.values():
        if job.status == "cancelled" and job.id not in asked:
            yield Violation("cancel", job.id, "is cancelled and nobody asked for it")
    for job_id in sorted({it.job_id for it in history.cancels if it.acknowledged}):
        job = aftermath.jobs.get(job_id)
        if job is None or job.status in LIVE:
            state = job.status if job else "not there"
            yield Violation("cancel", job_id, f"its cancel was acknowledged and it is {state}")


def _usage_is_written_once(aftermath: Aftermath) -> Iterator[Violation]:
    rows = Counter(row.job_id for row in aftermath.usage)
    for job in aftermath.jobs.values():
        if rows[job.id] != (0 if job.status in LIVE else 1):
            yield Violation("usage", job.id, f"is {job.status}, with {rows[job.id]} rows of usage")
    for row in aftermath.usage:
        job = aftermath.jobs.get(row.job_id)
        if job is None:
            yield Violation("usage", row.job_id, "usage of a job that is not there")
        elif row.status != job.status:
            yield Violation("usage", row.job_id, f"says {row.status}, the job is {job.status}")
        elif job.status == "completed" and row.completion_tokens - job.tokens_out not in (0, 1):
            told = f"says {row.completion_tokens} tokens, the job has {job.tokens_out}"
            yield Violation("usage", row.job_id, told)
