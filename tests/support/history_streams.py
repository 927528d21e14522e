"""Judges what readers were shown against the log, and the log against its grammar.

I5: ids rise without holes, what was shown is a prefix of the log and every replay is byte-equal.
I6: no token of an attempt after the next one began. Pure: records in, violations out.
"""

import json
from collections.abc import Iterator, Sequence

from support.history import (
    TERMINAL_KINDS,
    Aftermath,
    EventFact,
    Frame,
    History,
    JobFact,
    Reading,
    Violation,
)

__all__ = ["LogText", "judge_log", "judge_readings"]

# What may follow what; the first of a log is always `queued`.
_NEXT = {
    "queued": {"started", "attempt", "error"},
    "started": {"token", "attempt", "end", "error"},
    "token": {"token", "attempt", "end", "error"},
    "attempt": {"started", "attempt", "error"},
    "end": set[str](),
    "error": set[str](),
}


class LogText:
    """The answer that the events of a log come to, attempt by attempt."""

    def __init__(self) -> None:
        self.attempt = 1
        self.pieces: list[str] = []
        self.counts: list[int] = []

    @property
    def tokens(self) -> int:
        """How many tokens are there by now."""
        return sum(self.counts)

    @property
    def text(self) -> str:
        """The answer by now."""
        return "".join(self.pieces)

    def begin(self, data: dict[str, int]) -> Iterator[str]:
        """The next attempt begins, behind the tokens that are kept."""
        keep, number = data["keep_tokens"], data["attempt"]
        if number <= self.attempt:
            yield f"attempt {number} begins after attempt {self.attempt}"
        if keep > self.tokens:
            yield f"attempt {number} keeps {keep} tokens of {self.tokens}"
        self.attempt = max(self.attempt, number)
        while self.counts and self.tokens > keep:
            self.counts.pop()
            self.pieces.pop()
        if self.tokens < keep:
            yield f"attempt {number} keeps {keep} tokens, which is in the middle of an event"

    def add(self, data: dict[str, object]) -> Iterator[str]:
        """A token event."""
        first, count = data["i"], data["n"]
        if first != self.tokens:
            yield f"attempt {self.attempt} says token {first} where {self.tokens} is due"
        self.pieces.append(str(data["t"]))
        self.counts.append(int(str(count)))


def judge_log(job: JobFact) -> tuple[LogText, list[Violation]]:
    """Walk through the log of one job."""
    wrong: list[str] = []
    text = LogText()
    allowed = {"queued"}
    for due, event in enumerate(job.events, start=1):
        if event.seq != due:
            wrong.append(f"event {event.seq} stands where {due} is due")
        if event.kind not in allowed:
            wrong.append(f"event {event.seq} is {event.kind}, due was {_any(allowed)}")
        allowed = _NEXT.get(event.kind, set())
        if event.kind == "attempt":
            wrong += text.begin(json.loads(event.data))
        elif event.kind == "token":
            wrong += text.add(json.loads(event.data))
    if allowed and job.events:
        wrong.append(f"the log stops at {job.events[-1].kind}")
    return text, [Violation("I6", job.id, story) for story in wrong]


def _any(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds)) or "nothing"


def judge_readings(history: History, aftermath: Aftermath) -> Iterator[Violation]:
    """Every byte that any reader was shown, against the log and against the other readers."""
    shown: dict[tuple[str, int], bytes] = {}
    for reading in history.readings:
        job = aftermath.jobs.get(reading.job_id)
        if job is None:
            yield Violation("I1", reading.job_id, "its events were shown and it is not there")
            continue
        for story in _judge_reading(reading, job.events, shown):
            yield Violation("I5", reading.job_id, f"read after {reading.after}: {story}")


def _judge_reading(
    reading: Reading, log: Sequence[EventFact], shown: dict[tuple[str, int], bytes]
) -> Iterator[str]:
    due, over = reading.after + 1, False
    for frame in reading.frames:
        if frame.id is None:
            if frame.kind == "gap":
                gap = json.loads(frame.data)
                yield from _judge_gap(gap, due, log)
                due = gap["to"] + 1
            continue
        if over:
            yield f"event {frame.id} came after the end"
        if frame.id != due:
            yield f"event {frame.id} came where {due} was due"
        due, over = frame.id + 1, frame.kind in TERMINAL_KINDS
        yield from _judge_frame(frame, log, shown.setdefault((reading.job_id, frame.id), frame.raw))
    if reading.rest and not over and due <= len(log):
        whole = _rendered(log[due - 1])
        if not whole.startswith(reading.rest) and not reading.rest.startswith(b":"):
            yield f"the cut event {due} began {reading.rest!r}, in the log it is {whole!r}"


def _judge_gap(gap: dict[str, int], due: int, log: Sequence[EventFact]) -> Iterator[str]:
    first, last = gap["from"], gap["to"]
    if first != due or last < first:
        yield f"a gap from {first} to {last} was told where {due} was due"
    kept = [event.seq for event in log if first <= event.seq <= last]
    if kept:
        yield f"a gap from {first} to {last} was told, and event {kept[0]} is in the log"


def _judge_frame(frame: Frame, log: Sequence[EventFact], first_seen: bytes) -> Iterator[str]:
    assert frame.id is not None
    if frame.raw != first_seen:
        yield f"event {frame.id} was {first_seen!r} at first and then {frame.raw!r}"
    # The log may have lost its beginning to retention, so the row is looked up by its number.
    row = next((it for it in log[frame.id - 1 : frame.id] if it.seq == frame.id), None)
    row = row or next((it for it in log if it.seq == frame.id), None)
    if row is None:
        yield f"event {frame.id} was shown and is not in the log"
    elif frame.raw != _rendered(row):
        yield f"event {frame.id} was shown as {frame.raw!r}, in the log it is {_rendered(row)!r}"


def _rendered(event: EventFact) -> bytes:
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()
