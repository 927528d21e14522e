"""What the performer and the pumps know of a live job, whether it is stored or a plain call.

A durable job writes through the journal, a call answers its one client; both look alike here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestratord.runtime.jobs.kept_text import KeptText
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.upstream.chunks import Chunk, Shape

__all__ = ["Beginning", "EngineRequest", "LiveJob", "LiveJobs", "Piece", "Valve", "Wording"]


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One request as a worker gets it."""

    target: str
    body: bytes


class Beginning(NamedTuple):
    """How the prompt of an answer that goes on is had: as it is, or as a worker renders it."""

    prompt: str | None
    to_render: bytes


class Wording(Protocol):
    """How one job is put to whichever worker gets it."""

    def __call__(self, worker: WorkerAddress) -> EngineRequest:
        """Word the whole request."""
        ...

    def obstacles(self, worker: WorkerAddress) -> tuple[str, ...]:
        """Why its answer cannot be continued by this worker; empty when it can."""
        ...

    @property
    def has_one_choice(self) -> bool:
        """True when the word that ends a choice ends the answer."""
        ...

    @property
    def limit(self) -> int:
        """How many tokens the whole answer may have, whatever a worker has room for."""
        ...

    def beginning(self) -> Beginning:
        """Tell what stands in front of the answer."""
        ...

    def rest(
        self, worker: WorkerAddress, prompt: Sequence[str | int], max_tokens: int
    ) -> EngineRequest:
        """Word the request for what is missing: the prompt ends with the tokens that are kept."""
        ...


class Piece(NamedTuple):
    """One event of a worker's stream: its raw bytes and what they say."""

    frame: bytes
    chunk: Chunk


class Valve(Protocol):
    """Lets a job with a slow reader hold its worker's socket back."""

    def pause(self) -> None:
        """Read no more from the worker."""
        ...

    def resume(self) -> None:
        """Go on reading."""
        ...


class LiveJob(Protocol):
    """A job between admission and its one terminal transition."""

    @property
    def id(self) -> JobId:
        """The job's id."""
        ...

    @property
    def restartable(self) -> bool:
        """True while another attempt may start over without its client noticing a break."""
        ...

    @property
    def word(self) -> Wording:
        """How it is put to a worker."""
        ...

    @property
    def prompt_tokens(self) -> int | None:
        """How long its prompt is, once an engine has said so."""
        ...

    def kept(self, worker: WorkerAddress) -> KeptText | None:
        """What another attempt can go on behind; None when it would have to start over."""
        ...

    def deliver(self, pieces: Sequence[Piece], valve: Valve) -> None:
        """Take what one read of the worker's socket brought."""
        ...

    def deliver_token(self, shape: Shape, text: bytes, now: float, valve: Valve) -> None:
        """Take a read that brought one token of a known shape and nothing else."""
        ...

    def on_dispatched(self, command: PersistDispatched) -> None:
        """The attempt got a worker."""
        ...

    def on_running(self, command: PersistRunning) -> None:
        """The worker took the attempt."""
        ...

    def on_requeued(self, command: PersistRequeued) -> None:
        """The attempt came to nothing; the job waits again."""
        ...

    def on_finish(self, command: Finish) -> None:
        """The job is over; it leaves the live ones by itself once its end is safe."""
        ...


class LiveJobs:
    """All live jobs by id."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, LiveJob] = {}
        self._on_drop: list[Callable[[JobId], None]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[LiveJob]:
        return iter(self._jobs.values())

    def add(self, job: LiveJob) -> None:
        """Take a job in."""
        self._jobs[job.id] = job

    def get(self, job_id: str) -> LiveJob | None:
        """Look a job up."""
        return self._jobs.get(JobId(job_id))

    def drop(self, job_id: JobId) -> None:
        """Forget a job that ended."""
        if self._jobs.pop(job_id, None) is not None:
            for told in self._on_drop:
                told(job_id)

    def tell_drops(self, told: Callable[[JobId], None]) -> None:
        """Have somebody told of every job that leaves."""
        self._on_drop.append(told)
