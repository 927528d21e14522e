"""Decides whether a job gets another attempt after one came to nothing, and how soon."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, WorkerId

__all__ = [
    "POISON_WORKERS",
    "RetryDecision",
    "counts_as_failure",
    "decide_retry",
    "retry_delay_s",
]

POISON_WORKERS: Final = 2

_JITTER: Final = 0.25
_JITTER_STEPS: Final = 1000


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Try again, or end as failed with this code and line."""

    retry: bool
    code: Code
    message: str


def counts_as_failure(reason: Code) -> bool:
    """Tell whether the broken attempt is held against the job: our own restart is not."""
    return reason is not Code.ORCHESTRATOR_RESTART


def decide_retry(
    *,
    reason: Code,
    message: str,
    retriable: bool,
    failures: int,
    lost_on: Collection[tuple[WorkerId, int]],
    max_attempts: int,
) -> RetryDecision:
    """Judge a broken attempt; failures and lost_on include it already.

    1. Our own restart says nothing about the job: try again.
    2. The engine's refusal would repeat itself: fail with its words.
    3. A job that took two different worker processes with it does not get a third: POISON.
    4. Enough is enough: ATTEMPTS_EXHAUSTED.
    5. Else try again.
    """
    if not counts_as_failure(reason):
        return RetryDecision(retry=True, code=reason, message=message)
    if not retriable:
        return RetryDecision(retry=False, code=reason, message=message)
    if len(set(lost_on)) >= POISON_WORKERS:
        names = ", ".join(sorted({worker_id for worker_id, _ in lost_on}))
        line = f"{len(set(lost_on))} worker processes died while they ran this job ({names})"
        return RetryDecision(retry=False, code=Code.POISON, message=line)
    if failures >= max_attempts:
        line = f"{failures} attempts came to nothing; the last: {reason}: {message}"
        return RetryDecision(retry=False, code=Code.ATTEMPTS_EXHAUSTED, message=line)
    return RetryDecision(retry=True, code=reason, message=message)


def retry_delay_s(
    job_id: JobId, attempt: int, *, failures: int, backoff_s: float, backoff_max_s: float
) -> float:
    """How long a job pauses after this failed attempt: not at all after the first failure.

    The pause doubles up to its bound. Its jitter comes from the job and the attempt alone, so that
    jobs that failed together come back apart, and a replay comes out the same.
    """
    if failures < 2:
        return 0.0
    pause_s = min(backoff_s * 2.0 ** min(failures - 2, 32), backoff_max_s)
    step = zlib.crc32(f"{job_id}/{attempt}".encode()) % (_JITTER_STEPS + 1)
    return pause_s * (1 - _JITTER + 2 * _JITTER * step / _JITTER_STEPS)
