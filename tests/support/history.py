"""What a drill saw of its jobs, and what was left in the end: plain facts, judged elsewhere.

Clients write down every answer and every byte they were shown; the aftermath is read from the
database and the API when all is over. history_rules and history_streams judge both.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = [
    "LIVE",
    "TERMINAL_KINDS",
    "Aftermath",
    "AttemptFact",
    "Call",
    "Cancel",
    "EventFact",
    "Frame",
    "History",
    "JobFact",
    "Reading",
    "Submission",
    "UsageFact",
    "Violation",
]

LIVE = frozenset({"queued", "dispatched", "running"})
TERMINAL_KINDS = frozenset({"end", "error"})


@dataclass(frozen=True)
class Violation:
    """One promise that was not kept, with the least of a story that shows it."""

    rule: str
    about: str
    story: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}: {self.story}"


@dataclass(frozen=True)
class Frame:
    """One whole event as its bytes came; a frame without an id is none of the log."""

    raw: bytes
    kind: str
    data: str
    id: int | None = None

    @classmethod
    def read(cls, raw: bytes) -> "Frame | None":
        """Take a frame apart; None for comments and other frames without data."""
        lines = [line for line in raw.decode().split("\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if "data" not in fields:
            return None
        number = fields.get("id")
        return cls(
            raw=raw,
            kind=fields.get("event", "message"),
            data=fields["data"],
            id=None if number is None else int(number),
        )


@dataclass
class Reading:
    """One connection to a job's stream, from where it began to where it was cut or ended."""

    job_id: str
    after: int
    frames: list[Frame] = field(default_factory=list)
    rest: bytes = b""
    """What had come of an event that was cut."""

    @property
    def last_id(self) -> int:
        """The newest event of the log that this reader was shown."""
        return next((it.id for it in reversed(self.frames) if it.id is not None), self.after)


@dataclass
class Submission:
    """One job that a client wants, and all it was told about it; sent until it was acknowledged."""

    idempotency_key: str
    prompt: str
    sent: int = 0
    job_ids: list[str] = field(default_factory=list)
    """One for each answer that acknowledged it."""
    refusals: list[str] = field(default_factory=list)
    """Answers that neither acknowledge it nor ask to come back later."""


@dataclass(frozen=True)
class Cancel:
    """A wish that a job shall end."""

    job_id: str
    acknowledged: bool


@dataclass
class Call:
    """One call of /v1 and all that it brought; it has no log that could tell it again."""

    prompt: str
    stream: bool
    has_stop: bool
    """With stop words, behind which no other worker may go on."""
    job_id: str = ""
    text: str = ""
    finish: str | None = None
    end: str = ""
    """whole, error, refused, cut, unfinished, or left by the client itself."""
    code: str = ""
    excused: bool = False
    """True when the daemon died or was away meanwhile."""
    oddities: list[str] = field(default_factory=list)
    """What is wrong with the form of what came."""


@dataclass
class History:
    """What the clients and the nemesis did and saw."""

    seed: int
    submissions: list[Submission] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    """Jobs that were acknowledged and then denied, with the words."""
    calls: list[Call] = field(default_factory=list)
    orchestrator_kills: int = 0
    orchestrator_starts: int = 0
    """How often it was brought back after a kill or a stop."""
    orderly_stops: int = 0
    early_kills: int = 0
    """How often it was killed again before it was back."""
    pool_kills: int = 0
    worker_kills: int = 0

    @property
    def deaths(self) -> int:
        """Rises by one when the orchestrator goes and when it is back; odd while it is away."""
        return self.orchestrator_kills + self.orderly_stops + self.orchestrator_starts

    def dump(self, path: Path, broken: Sequence[Violation]) -> None:
        """Keep all of it where a person can read it, one record a line, what is wrong first."""
        with path.open("w", encoding="utf-8") as stream:
            for violation in broken:
                print(json.dumps({"violation": asdict(violation)}), file=stream)
            head = {
                "seed": self.seed,
                "orchestrator_kills": self.orchestrator_kills,
                "orderly_stops": self.orderly_stops,
                "early_kills": self.early_kills,
                "pool_kills": self.pool_kills,
                "worker_kills": self.worker_kills,
                "lost": self.lost,
            }
            print(json.dumps(head), file=stream)
            for submission in self.submissions:
                print(json.dumps({"submission": asdict(submission)}), file=stream)
            for cancel in self.cancels:
                print(json.dumps({"cancel": asdict(cancel)}), file=stream)
            for call in self.calls:
                print(json.dumps({"call": asdict(call)}), file=stream)
            for reading in self.readings:
                shown = "".join(frame.raw.decode() for frame in reading.frames)
                record = {"job_id": reading.job_id, "after": reading.after, "shown": shown}
                record["rest"] = reading.rest.decode("utf-8", "replace")
                print(json.dumps({"reading": record}), file=stream)


@dataclass(frozen=True)
class AttemptFact:
    """One row of a job's attempts."""

    attempt: int
    status: str
    reason: str | None = None
    kept_tokens: int = 0
    started_at_ms: int = 0
    ended_at_ms: int | None = None


@dataclass(frozen=True)
class EventFact:
    """One row of a job's log."""

    seq: int
    kind: str
    data: str


@dataclass(frozen=True)
class JobFact:
    """One row of the jobs, with all that belongs to it."""

    id: str
    status: str
    idempotency_key: str | None = None
    error_code: str | None = None
    output: str | None = None
    tokens_out: int = 0
    attempts: tuple[AttemptFact, ...] = ()
    events: tuple[EventFact, ...] = ()


@dataclass(frozen=True)
class UsageFact:
    """One row of the usage."""

    job_id: str
    status: str
    completion_tokens: int
    """With the token that ends an answer, which is not shown."""


@dataclass
class Aftermath:
    """What is left when the faults have stopped and time was given to come to rest."""

    jobs: dict[str, JobFact] = field(default_factory=dict)
    usage: list[UsageFact] = field(default_factory=list)
    call_usage: list[UsageFact] = field(default_factory=list)
    """That of calls of /v1, which are no jobs of the database."""
    unrest: list[str] = field(default_factory=list)
    """What had not come to rest in time."""
    damage: list[str] = field(default_factory=list)
    """What the database says against itself."""

    def ends(self) -> dict[str, int]:
        """How often jobs ended in which way."""
        told = Counter(f"{it.status} {it.error_code or ''}".strip() for it in self.jobs.values())
        return dict(sorted(told.items()))
