"""Decides what the models of an external engine are after each look at it: pure.

Looks come from asking; what is decided here is shown by watch as reports of workers.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from orchestrator_core.catalog.external import name_fault
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PREFIX_WORKER, WorkerId, compose_uuid7, format_id
from pool_core.externals.settings import MODELS_MAX, ExternalEngine

__all__ = [
    "EngineState",
    "Fault",
    "Found",
    "Member",
    "Pace",
    "begin",
    "fold",
    "pause_s",
    "worker_id",
]

# A server that answers one call at a time may be busy with a long answer: that is no fault.
_BUSY_LOOKS: Final = 6
_OLLAMA_DEFAULT_TAG: Final = ":latest"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used; slow says that the server is there and did not answer."""

    code: Code
    message: str
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What one look brought: the models that answer, and what is wrong with the others.

    With a fault, nothing is known of any model.
    """

    models: tuple[str, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict[str, Fault])
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of one engine, which is one worker; incarnation counts its comings back."""

    model: str
    upstream: str
    name: str
    status: WorkerStatus
    incarnation: int
    began_ms: int
    ready_ms: int | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class EngineState:
    """The models of an engine, and how many looks in a row brought nothing."""

    members: tuple[Member, ...] = ()
    fault: Fault | None = None
    misses: int = 0

    @property
    def serves(self) -> bool:
        """True when any of its models is ready."""
        return any(member.status is WorkerStatus.READY for member in self.members)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an engine is looked at: while all is well, and when it is away."""

    healthy_s: float = 10.0
    first_s: float = 1.0
    longest_s: float = 60.0


def begin(engine: ExternalEngine, now_ms: int, taken: Collection[str]) -> EngineState:
    """What is known before the first look: the models that the operator has named."""
    return EngineState(_chosen(engine, engine.models, (), now_ms, taken))


def fold(
    engine: ExternalEngine, state: EngineState, found: Found, now_ms: int, taken: Collection[str]
) -> EngineState:
    """Take one look in; taken are the names of other engines' workers."""
    misses = state.misses + 1
    if found.fault is not None:
        if found.fault.slow and state.serves and misses < _BUSY_LOOKS:
            return replace(state, misses=misses)
        failed = tuple(_failed(member, found.fault) for member in state.members)
        return EngineState(failed, found.fault, misses)
    named = engine.models or _usable(found.models)
    if not named:
        nothing = Fault(Code.MODEL_NOT_FOUND, f"{engine.url} lists no model")
        return EngineState((), nothing, misses)
    members = _chosen(engine, named, state.members, now_ms, taken)
    return EngineState(tuple(_judged(engine, member, found, now_ms) for member in members))


def pause_s(state: EngineState, pace: Pace, roll: Callable[[], float]) -> float:
    """How long to wait before the next look; dice keep many pools from looking at once."""
    if state.misses == 0:
        return pace.healthy_s * (0.8 + 0.4 * roll())
    doubled = pace.first_s * 2.0 ** min(state.misses - 1, 16)
    return min(pace.longest_s, doubled) * (0.5 + 0.5 * roll())


def worker_id(instance: str, engine: str, model: str) -> WorkerId:
    """The id of an external worker: the same after every restart, without a file to keep it.

    It has the shape of every id; its time is the epoch, because it was not drawn at any.
    """
    named = f"{instance}\x00{engine}\x00{model}".encode()
    bits = int.from_bytes(hashlib.sha256(named).digest()[:10], "big")
    return WorkerId(format_id(PREFIX_WORKER, compose_uuid7(0, bits)))


def _usable(models: Collection[str]) -> dict[str, str]:
    fitting = [name for name in dict.fromkeys(models) if name_fault(name) is None]
    return {name: name for name in fitting[:MODELS_MAX]}


def _chosen(
    engine: ExternalEngine,
    named: Mapping[str, str],
    known: Collection[Member],
    now_ms: int,
    taken: Collection[str],
) -> tuple[Member, ...]:
    """The members for these models: known ones as they are, new ones with a free name."""
    kept = {member.model: member for member in known if member.model in named}
    names = {*taken, *(member.name for member in kept.values())}
    members: list[Member] = []
    for model, upstream in named.items():
        member = kept.get(model)
        if member is None:
            name = _free_name(engine.name, names)
            names.add(name)
            member = Member(
                model=model,
                upstream=upstream,
                name=name,
                status=WorkerStatus.STARTING,
                # Time in it keeps the count rising over restarts, without a file to keep it.
                incarnation=max(1, now_ms // 1000),
                began_ms=now_ms,
            )
        members.append(member)
    return tuple(members)


def _free_name(engine: str, names: Collection[str]) -> str:
    base = f"worker-openai-{engine}"
    numbered = (base if n == 1 else f"{base}-{n}" for n in count(1))
    return next(name for name in numbered if name not in names)


def _judged(engine: ExternalEngine, member: Member, found: Found, now_ms: int) -> Member:
    upstream = member.upstream
    if upstream in found.models or upstream + _OLLAMA_DEFAULT_TAG in found.models:
        return _ready(member, now_ms)
    unlisted = Fault(Code.MODEL_NOT_FOUND, f"{engine.url} does not list the model {upstream}")
    return _failed(member, found.faults.get(upstream, unlisted))


def _ready(member: Member, now_ms: int) -> Member:
    if member.status is WorkerStatus.READY:
        return member
    changed = replace(member, status=WorkerStatus.READY, ready_ms=now_ms, fault=None)
    if member.status is not WorkerStatus.FAILED:
        return changed
    # Whoever answers now may be another process than before: work lost on that one is not held
    # against this one.
    later = max(member.incarnation + 1, now_ms // 1000)
    return replace(changed, incarnation=later, began_ms=now_ms)


def _failed(member: Member, fault: Fault) -> Member:
    return replace(member, status=WorkerStatus.FAILED, fault=fault)
