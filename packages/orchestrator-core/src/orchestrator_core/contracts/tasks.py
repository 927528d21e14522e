"""The native job API: what is submitted, what is shown, and the events of a job's stream."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from orchestrator_core.contracts.base import Fact, Order

__all__ = [
    "AttemptView",
    "EventKind",
    "JobStatus",
    "JobView",
    "Message",
    "Pin",
    "Priority",
    "TaskAccepted",
    "TaskKind",
    "TaskList",
    "TaskSubmit",
    "Timings",
    "Usage",
]


class JobStatus(StrEnum):
    """The states of a job; jobs.states holds the table of moves between them."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Priority(StrEnum):
    """Two strict classes."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class TaskKind(StrEnum):
    """What a worker is asked to do; a sub-queue is a (model, task) pair."""

    GENERATE = "generate"
    EMBED = "embed"
    RERANK = "rerank"


class EventKind(StrEnum):
    """The kinds of event of a job's stream that are stored and replayed."""

    QUEUED = "queued"
    STARTED = "started"
    ATTEMPT = "attempt"
    TOKEN = "token"  # noqa: S105 - the name of an event, not a secret.
    END = "end"
    ERROR = "error"


class Message(Order):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str


Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Pin(Order):
    """An operator's word on where a job runs; it wins over every other rule."""

    pool: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class TaskSubmit(Order):
    """A job as a client submits it; exactly one of prompt and messages."""

    model: ModelName
    prompt: Annotated[str, StringConstraints(min_length=1)] | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)] | None = None
    raw: bool = False
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    stop: Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
    response_format: dict[str, object] | None = None
    priority: Priority = Priority.INTERACTIVE
    session_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=7 * 86_400_000)] | None = None
    pin: Pin | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    cancel_on_disconnect: bool = False

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of prompt and messages")
        if self.raw and self.prompt is None:
            raise ValueError("raw needs prompt: messages are rendered with the chat template")
        return self


class TaskAccepted(Fact):
    """The answer to a submission: the job is on disk."""

    job_id: str
    status: JobStatus
    queue_position: int
    events_url: str


class Usage(Fact):
    """Tokens of a finished job."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Timings(Fact):
    """What the engine measured for the attempt that finished."""

    prompt_ms: float = 0.0
    predicted_ms: float = 0.0


class AttemptView(Fact):
    """One execution of a job on one worker."""

    attempt: int
    pool_id: str
    worker_id: str
    worker_name: str | None = None
    status: Literal["running", "ended", "broken", "cancelled"]
    reason: str | None = None
    message: str | None = None
    tokens: int = 0
    kept_tokens: int = 0
    started_at: str
    ended_at: str | None = None


class JobView(Fact):
    """A job as it is listed and shown."""

    id: str
    status: JobStatus
    model: str
    task: TaskKind = TaskKind.GENERATE
    priority: Priority
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    attempt: int = 0
    worker_id: str | None = None
    durable: bool = True
    tokens_out: int = 0
    stop_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    seed: int | None = None
    session_id: str | None = None
    metadata: dict[str, str] | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    output: str | None = None
    attempts: list[AttemptView] | None = None
    why: list[str] | None = None


class TaskList(Fact):
    """One page of jobs, newest first."""

    items: list[JobView]
    next: str | None = None
