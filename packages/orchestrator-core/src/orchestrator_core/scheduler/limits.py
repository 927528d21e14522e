"""The numbers of the machine's rules; the daemon's settings fill in what an operator may choose."""

from dataclasses import dataclass

__all__ = ["MachineLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """Times in seconds; settle_batch bounds the mass endings of one event.

    An alarm that is missed by more than deaf_s says that we slept, not that others were silent.

    The four timeouts: queue (no worker ever took the job), load (a worker that comes and comes),
    attempt (one run of a job) and total (the whole job). Batch jobs outrank younger interactive
    ones after batch_patience_s. A given-up service takes no jobs for negative_s, which doubles; a
    pool on which a service failed quarantine_strikes times is no home for it for quarantine_s.
    """

    deaf_s: float = 5.0
    suspect_after_s: float = 15.0
    lost_after_s: float = 45.0
    brake_share: float = 0.55
    brake_max_s: float = 900.0
    recovery_s: float = 45.0
    settle_s: float = 10.0
    start_timeout_s: float = 60.0
    start_backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    start_attempts: int = 3
    negative_s: float = 30.0
    negative_max_s: float = 600.0
    quarantine_strikes: int = 2
    quarantine_s: float = 300.0
    quarantine_max_s: float = 3600.0
    queue_timeout_s: float = 86_400.0
    load_timeout_s: float = 900.0
    attempt_timeout_s: float = 3600.0
    total_timeout_s: float = 604_800.0
    batch_patience_s: float = 300.0
    max_attempts: int = 3
    retry_backoff_s: float = 0.5
    retry_backoff_max_s: float = 30.0
    notes_per_job: int = 8
    shortlist: int = 4
    settle_batch: int = 512
