"""The error tree and the one table that gives each code its HTTP status and exit code.

LlorchError
    RequestError    the caller must change something
    CapacityError   the same request may work later
    HostError       a machine, a process or a file of ours failed
    PeerError       a remote side answered with an error or not at all
    DataError       stored or received data is corrupt
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

__all__ = [
    "OUTCOMES",
    "CapacityError",
    "Code",
    "DataError",
    "Exit",
    "HostError",
    "LlorchError",
    "Outcome",
    "PeerError",
    "Refusal",
    "RequestError",
    "error_for",
]


class Code(StrEnum):
    """Stable slugs: clients may match on them, so none is ever renamed."""

    INVALID_REQUEST = "INVALID_REQUEST"
    NO_KEY = "NO_KEY"
    BAD_KEY = "BAD_KEY"
    SCOPE = "SCOPE"
    FORBIDDEN_HOST = "FORBIDDEN_HOST"
    NOT_FOUND = "NOT_FOUND"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    WORKER_NOT_FOUND = "WORKER_NOT_FOUND"
    POOL_NOT_FOUND = "POOL_NOT_FOUND"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    HOST_NOT_FOUND = "HOST_NOT_FOUND"
    HOST_KEY_UNKNOWN = "HOST_KEY_UNKNOWN"
    HOST_KEY_CHANGED = "HOST_KEY_CHANGED"
    HOST_REFUSED = "HOST_REFUSED"
    BAD_TOKEN = "BAD_TOKEN"  # noqa: S105 - the name of a code.
    VERSION_SKEW = "VERSION_SKEW"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    MODEL_NOT_PULLED = "MODEL_NOT_PULLED"
    STALE_SESSION = "STALE_SESSION"
    STALE_GENERATION = "STALE_GENERATION"
    TOO_LARGE = "TOO_LARGE"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    CONTEXT_EXCEEDED = "CONTEXT_EXCEEDED"
    QUEUE_FULL = "QUEUE_FULL"
    QUOTA = "QUOTA"
    RATE = "RATE"
    NO_CAPACITY = "NO_CAPACITY"
    LOADING = "LOADING"
    DRAINING = "DRAINING"
    DISK_LOW = "DISK_LOW"
    DEADLINE = "DEADLINE"
    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    POISON = "POISON"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    MODEL_INCOMPATIBLE = "MODEL_INCOMPATIBLE"
    MODEL_GATED = "MODEL_GATED"
    CONVERSION_REQUIRED = "CONVERSION_REQUIRED"
    BACKEND_UNAVAILABLE = "BACKEND_UNAVAILABLE"
    WORKER_START_FAILED = "WORKER_START_FAILED"
    WORKER_LOST = "WORKER_LOST"
    WORKER_REFUSED = "WORKER_REFUSED"
    ENGINE_ERROR = "ENGINE_ERROR"
    ORCHESTRATOR_RESTART = "ORCHESTRATOR_RESTART"
    PORT_IN_USE = "PORT_IN_USE"
    DATA_IN_USE = "DATA_IN_USE"
    CONFIG_INVALID = "CONFIG_INVALID"
    DATA_CORRUPT = "DATA_CORRUPT"
    GIT_FAILED = "GIT_FAILED"
    INTERNAL = "INTERNAL"


class Exit(IntEnum):
    """Exit codes of every command of the suite."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    CONFIG = 78
    TIMEOUT = 124
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a code means on the wire and in a shell."""

    http_status: int
    exit_code: Exit
    retry_later: bool = False


def _outcomes() -> dict[Code, Outcome]:
    c, failure = Code, Exit.FAILURE
    table = {
        c.INVALID_REQUEST: Outcome(400, failure),
        c.NO_KEY: Outcome(401, Exit.REFUSED),
        c.BAD_KEY: Outcome(401, Exit.REFUSED),
        c.SCOPE: Outcome(403, Exit.REFUSED),
        c.FORBIDDEN_HOST: Outcome(403, Exit.REFUSED),
        c.MODEL_GATED: Outcome(403, Exit.REFUSED),
        c.HOST_KEY_UNKNOWN: Outcome(403, Exit.REFUSED),
        c.HOST_KEY_CHANGED: Outcome(403, Exit.REFUSED),
        c.HOST_REFUSED: Outcome(403, Exit.REFUSED),
        c.BAD_TOKEN: Outcome(403, Exit.REFUSED),
        c.METHOD_NOT_ALLOWED: Outcome(405, failure),
        c.TOO_LARGE: Outcome(413, failure),
        c.IDEMPOTENCY_MISMATCH: Outcome(422, failure),
        c.CONTEXT_EXCEEDED: Outcome(422, failure),
        c.DEADLINE: Outcome(504, Exit.TIMEOUT),
        c.TIMEOUT: Outcome(504, Exit.TIMEOUT),
        c.UNREACHABLE: Outcome(503, Exit.UNREACHABLE, retry_later=True),
        c.PORT_IN_USE: Outcome(500, Exit.CONFIG),
        c.DATA_IN_USE: Outcome(500, Exit.CONFIG),
        c.CONFIG_INVALID: Outcome(500, Exit.CONFIG),
    }
    missing = (c.NOT_FOUND, c.JOB_NOT_FOUND, c.MODEL_NOT_FOUND)
    missing += (c.WORKER_NOT_FOUND, c.POOL_NOT_FOUND, c.KEY_NOT_FOUND, c.HOST_NOT_FOUND)
    table |= dict.fromkeys(missing, Outcome(404, Exit.NOT_FOUND))
    clash = (c.CONFLICT, c.MODEL_NOT_PULLED, c.STALE_SESSION, c.STALE_GENERATION)
    clash += (c.VERSION_SKEW,)
    table |= dict.fromkeys(clash, Outcome(409, failure))
    slow = (c.QUEUE_FULL, c.QUOTA, c.RATE)
    table |= dict.fromkeys(slow, Outcome(429, failure, retry_later=True))
    busy = (c.NO_CAPACITY, c.LOADING, c.DRAINING, c.DISK_LOW)
    table |= dict.fromkeys(busy, Outcome(503, Exit.UNREACHABLE, retry_later=True))
    unfit = (c.MODEL_INCOMPATIBLE, c.CONVERSION_REQUIRED, c.BACKEND_UNAVAILABLE)
    table |= dict.fromkeys((*unfit, c.WORKER_REFUSED), Outcome(422, failure))
    ours = (c.WORKER_START_FAILED, c.WORKER_LOST, c.ORCHESTRATOR_RESTART, c.POISON)
    ours += (c.ATTEMPTS_EXHAUSTED, c.DATA_CORRUPT, c.ENGINE_ERROR, c.GIT_FAILED, c.INTERNAL)
    table |= dict.fromkeys(ours, Outcome(500, failure))
    return table | dict.fromkeys((c.CANCELLED, c.EXPIRED), Outcome(409, failure))


OUTCOMES: Final[Mapping[Code, Outcome]] = MappingProxyType(_outcomes())


@dataclass(frozen=True, slots=True)
class Refusal:
    """An expected no, returned as a value: code, one clear line, and what helps."""

    code: Code
    message: str
    details: Mapping[str, object] = field(default_factory=dict[str, object])
    retry_after_s: int | None = None

    @property
    def outcome(self) -> Outcome:
        """Status and exit code from the table."""
        return OUTCOMES[self.code]


class LlorchError(Exception):
    """Any failure of the suite; carries the refusal that a caller is shown."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}")
        self.refusal = refusal

    @property
    def code(self) -> Code:
        """The stable slug."""
        return self.refusal.code


class RequestError(LlorchError):
    """The caller must change something before it can work."""


class CapacityError(LlorchError):
    """The same request may work later."""


class HostError(LlorchError):
    """A machine, a process or a file of ours failed."""


class PeerError(LlorchError):
    """A remote side answered with an error or not at all."""


class DataError(LlorchError):
    """Stored or received data is corrupt."""


_HOST_CODES: Final = frozenset(
    {
        Code.PORT_IN_USE,
        Code.DATA_IN_USE,
        Code.WORKER_START_FAILED,
        Code.WORKER_LOST,
        Code.GIT_FAILED,
    }
)


def error_for(refusal: Refusal) -> LlorchError:
    """Turn a refusal into the exception of its branch of the tree."""
    if refusal.code in (Code.UNREACHABLE, Code.TIMEOUT):
        return PeerError(refusal)
    if refusal.code is Code.DATA_CORRUPT:
        return DataError(refusal)
    if refusal.code in _HOST_CODES or refusal.code is Code.INTERNAL:
        return HostError(refusal)
    if refusal.outcome.retry_later:
        return CapacityError(refusal)
    return RequestError(refusal)
