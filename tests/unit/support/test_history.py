"""The judge of histories finds each broken promise, and finds nothing where all were kept."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from support.history import (
    Aftermath,
    AttemptFact,
    Cancel,
    EventFact,
    Frame,
    History,
    JobFact,
    Reading,
    Submission,
    UsageFact,
)
from support.history_rules import violations

JOB = "job_1"
ANSWERS = {"Hello": "Hello you there"}


def event(seq: int, kind: str, **data: object) -> EventFact:
    return EventFact(seq, kind, json.dumps(data))


def token(seq: int, first: int, *words: str) -> EventFact:
    return event(seq, "token", t="".join(words), i=first, n=len(words))


PLAIN = (
    event(1, "queued"),
    event(2, "started"),
    token(3, 0, "Hello", " you"),
    token(4, 2, " there"),
    event(5, "end", tokens_out=3),
)
# The worker died behind two tokens, and another one went on behind them.
CONTINUED = (
    *PLAIN[:3],
    event(4, "attempt", attempt=2, reason="WORKER_LOST", keep_tokens=2),
    event(5, "started"),
    token(6, 2, " there"),
    event(7, "end", tokens_out=3),
)
# Another one began anew.
RESTARTED = (
    *PLAIN[:3],
    event(4, "attempt", attempt=2, reason="WORKER_LOST", keep_tokens=0),
    event(5, "started"),
    token(6, 0, "Hello", " you", " there"),
    event(7, "end", tokens_out=3),
)


def frames(events: tuple[EventFact, ...]) -> list[Frame]:
    shown = [f"id: {it.seq}\nevent: {it.kind}\ndata: {it.data}\n\n".encode() for it in events]
    return [frame for raw in shown if (frame := Frame.read(raw))]


@dataclass
class Story:
    """One job that was submitted, followed, cut and read again, and what is left of it."""

    events: tuple[EventFact, ...] = PLAIN
    attempts: tuple[AttemptFact, ...] = (AttemptFact(1, "ended"),)
    job: JobFact = field(init=False)
    history: History = field(init=False)
    aftermath: Aftermath = field(init=False)

    def __post_init__(self) -> None:
        self.job = JobFact(
            id=JOB,
            status="completed",
            idempotency_key="key-1",
            output="Hello you there",
            tokens_out=3,
            attempts=self.attempts,
            events=self.events,
        )
        wish = Submission("key-1", "Hello", sent=2, job_ids=[JOB, JOB])
        readings = [
            Reading(JOB, 0, frames(self.events[:2]), rest=b"id: 3\neve"),
            Reading(JOB, 2, frames(self.events[2:])),
            Reading(JOB, 0, frames(self.events)),
        ]
        self.history = History(seed=1, submissions=[wish], readings=readings)
        self.aftermath = Aftermath({JOB: self.job}, [UsageFact(JOB, "completed", 4)])

    def change(self, **fields: object) -> None:
        self.aftermath.jobs[JOB] = replace(self.aftermath.jobs[JOB], **fields)  # pyright: ignore[reportArgumentType]

    def end_as(self, status: str, code: str, *, said: str | None = None) -> None:
        """Let the job end before its answer was whole."""
        events = (*self.events[:3], event(4, "error", code=said or code))
        self.change(status=status, error_code=code, output=None, tokens_out=2, events=events)
        self.aftermath.usage = [UsageFact(JOB, status, 2)]
        self.history.readings = [Reading(JOB, 0, frames(events))]

    def found(self) -> set[str]:
        return {it.rule for it in violations(self.history, self.aftermath, ANSWERS)}


def two(story: Story) -> tuple[AttemptFact, ...]:
    kept = json.loads(story.events[3].data)["keep_tokens"]
    return (
        AttemptFact(1, "broken", "WORKER_LOST", 0, 1, 5),
        AttemptFact(2, "ended", None, kept, 5, 9),
    )


@pytest.mark.parametrize("events", [PLAIN, CONTINUED, RESTARTED])
def test_a_history_in_which_all_was_kept_is_found_good(events: tuple[EventFact, ...]) -> None:
    story = Story(events)
    if events is not PLAIN:
        story.change(attempts=two(story))
    assert violations(story.history, story.aftermath, ANSWERS) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [("failed", "POISON"), ("failed", "ATTEMPTS_EXHAUSTED"), ("cancelled", "CANCELLED")],
)
def test_a_job_may_come_to_a_legal_end(status: str, code: str) -> None:
    story = Story()
    story.end_as(status, code)
    story.history.cancels.append(Cancel(JOB, acknowledged=True))
    assert story.found() == set()


def test_restarts_of_our_own_do_not_count_as_attempts() -> None:
    story = Story()
    restarts = [
        AttemptFact(it, "broken", "ORCHESTRATOR_RESTART", 0, it, it + 1) for it in range(1, 9)
    ]
    story.change(attempts=(*restarts, AttemptFact(9, "ended", None, 0, 9, 10)))
    assert story.found() == set()


Break = Callable[[Story], object]


def job_is_gone(story: Story) -> None:
    story.aftermath.jobs.clear()
    story.aftermath.usage.clear()
    story.history.readings.clear()


def job_never_ends(story: Story) -> None:
    story.change(status="running", events=PLAIN[:4], attempts=(AttemptFact(1, "running"),))
    story.aftermath.usage.clear()


def shown(story: Story, old: bytes, new: bytes, reading: int = 1) -> None:
    """Another text than that of the log was shown."""
    target = story.history.readings[reading]
    taken = [Frame.read(frame.raw.replace(old, new)) for frame in target.frames]
    target.frames = [frame for frame in taken if frame]


def cut_event_differs(story: Story) -> None:
    story.history.readings[0].rest = b"id: 3\nevent: end"


def a_hole(story: Story) -> None:
    del story.history.readings[2].frames[2]


def false_gap(story: Story) -> None:
    raw = b'event: gap\ndata: {"from": 1, "to": 2}\n\n'
    gap = Frame.read(raw)
    assert gap is not None
    story.history.readings[2].frames[:2] = [gap]


def after_the_end(story: Story) -> None:
    story.history.readings[2].frames.append(story.history.readings[2].frames[-1])


def log_with(*events: EventFact) -> Break:
    """The log and all readers agree, and both are wrong."""

    def act(story: Story) -> None:
        story.change(events=events)
        story.history.readings = [Reading(JOB, 0, frames(events))]

    return act


def second_job_of_a_key(story: Story) -> None:
    story.aftermath.jobs["job_2"] = replace(story.job, id="job_2")
    story.aftermath.usage.append(UsageFact("job_2", "completed", 3))


def one_job_for_two_keys(story: Story) -> None:
    story.history.submissions.append(Submission("key-2", "Hello", 1, [JOB]))


def attempts(*facts: AttemptFact) -> Break:
    return lambda story: story.change(attempts=facts)


LOST = [AttemptFact(it, "broken", "WORKER_LOST") for it in range(1, 5)]

BROKEN: dict[str, tuple[str, Break]] = {
    "an acknowledged job is gone": ("I1", job_is_gone),
    "an acknowledged job never ends": ("I1", job_never_ends),
    "a submission is refused": ("I1", lambda it: it.history.submissions[0].refusals.append("400")),
    "a submission is never answered": (
        "I1",
        lambda it: it.history.submissions.append(Submission("key-2", "Hello", 9)),
    ),
    "a job is denied": ("I1", lambda it: it.history.lost.append((JOB, "404"))),
    "a job has two ends": ("I2", log_with(*PLAIN, event(6, "error", code="CANCELLED"))),
    "a job has no end": ("I2", log_with(*PLAIN[:4])),
    "an end says another state": ("I2", lambda it: it.end_as("failed", "POISON", said="INTERNAL")),
    "a job fails for no reason": ("I2", lambda it: it.end_as("failed", "INTERNAL")),
    "two attempts at a time": (
        "I3",
        attempts(
            AttemptFact(1, "broken", "WORKER_LOST", 0, 1, 5),
            AttemptFact(2, "ended", None, 0, 4, 9),
        ),
    ),
    "too many attempts": ("I4", attempts(*LOST, AttemptFact(5, "ended"))),
    "a number of an attempt is missing": (
        "I4",
        attempts(AttemptFact(1, "broken", "WORKER_LOST"), AttemptFact(3, "ended")),
    ),
    "an attempt outlives its job": (
        "I4",
        attempts(AttemptFact(1, "running"), AttemptFact(2, "ended")),
    ),
    "two attempts end well": ("I4", attempts(AttemptFact(1, "ended"), AttemptFact(2, "ended"))),
    "a replay has other bytes": ("I5", lambda it: shown(it, b" there", b" where", reading=2)),
    "what was shown is not in the log": ("I5", lambda it: shown(it, b"id: 5", b"id: 6")),
    "a cut event was another one": ("I5", cut_event_differs),
    "an event is left out": ("I5", a_hole),
    "a gap is told where there is none": ("I5", false_gap),
    "an event comes after the end": ("I5", after_the_end),
    "a token of an attempt that is over": (
        "I6",
        log_with(*CONTINUED[:4], token(5, 2, " dead"), *CONTINUED[5:]),
    ),
    "a token comes twice": ("I6", log_with(*PLAIN[:4], token(5, 2, " there"), event(6, "end"))),
    "more is kept than there was": (
        "I6",
        log_with(*PLAIN[:3], event(4, "attempt", attempt=2, keep_tokens=9), *CONTINUED[4:]),
    ),
    "an attempt begins twice": (
        "I6",
        log_with(*PLAIN[:3], event(4, "attempt", attempt=1, keep_tokens=2), *CONTINUED[4:]),
    ),
    "the row of an attempt keeps other tokens": (
        "I6",
        lambda it: (log_with(*CONTINUED)(it), it.change(attempts=two(Story(RESTARTED)))),
    ),
    "one key makes two jobs": ("once", second_job_of_a_key),
    "two keys make one job": ("once", one_job_for_two_keys),
    "a job that nobody asked for": ("once", lambda it: it.change(idempotency_key=None)),
    "a wrong answer": (
        "answers",
        log_with(*PLAIN[:3], token(4, 2, " three"), PLAIN[4]),
    ),
    "an output that was not told": ("answers", lambda it: it.change(output="Hello")),
    "a wrong count of tokens": ("answers", lambda it: it.change(tokens_out=9)),
    "a part of no answer": (
        "answers",
        lambda it: (it.end_as("failed", "POISON"), shown_wrongly(it)),
    ),
    "a cancel that nobody asked for": ("cancel", lambda it: it.end_as("cancelled", "CANCELLED")),
    "a cancel that came to nothing": (
        "cancel",
        lambda it: (job_never_ends(it), it.history.cancels.append(Cancel(JOB, acknowledged=True))),
    ),
    "usage is written twice": (
        "usage",
        lambda it: it.aftermath.usage.append(it.aftermath.usage[0]),
    ),
    "usage is missing": ("usage", lambda it: it.aftermath.usage.clear()),
    "usage of another state": (
        "usage",
        lambda it: it.aftermath.usage.__setitem__(0, UsageFact(JOB, "failed", 3)),
    ),
    "usage of other tokens": (
        "usage",
        lambda it: it.aftermath.usage.__setitem__(0, UsageFact(JOB, "completed", 7)),
    ),
    "no rest": ("I12", lambda it: it.aftermath.unrest.append("a worker is busy")),
    "a damaged database": ("database", lambda it: it.aftermath.damage.append("page 3")),
}


def shown_wrongly(story: Story) -> None:
    events = (*PLAIN[:2], token(3, 0, "Good", "bye"), event(4, "error", code="POISON"))
    log_with(*events)(story)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str) -> None:
    rule, act = BROKEN[name]
    story = Story()
    act(story)
    assert rule in story.found()
