"""What nvml_helper answers, checked: the facts of every card as NVIDIA's library tells them.

nvml_driver writes these records as JSON; nvml_reading decides what they mean.
"""

from typing import Final

from pydantic import ValidationError

from orchestrator_core.contracts.base import Fact

__all__ = ["PID_MAX", "Answer", "RawError", "RawGpu", "RawMemory", "mentioned_pids", "parse"]

PID_MAX: Final = 1 << 22


class RawError(Fact):
    """An error code of the library and its text."""

    code: int
    text: str = ""


class RawMemory(Fact):
    """Bytes; what the driver reserves for itself is neither free nor used."""

    total: int
    free: int
    used: int


class RawGpu(Fact):
    """A card or a part of one, as the library tells it."""

    index: int
    uuid: str | None = None
    name: str = ""
    bus_id: str | None = None
    capability: tuple[int, int] | None = None
    memory: RawMemory | None = None
    memory_error: RawError | None = None
    utilization: int | None = None
    temperature_c: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    processes: tuple[tuple[int, int | None], ...] = ()
    parts: "tuple[RawGpu, ...] | None" = None
    error: RawError | None = None


class Answer(Fact):
    """One answer of the helper; an error concerns all cards."""

    driver: str | None = None
    gpus: tuple[RawGpu, ...] = ()
    error: RawError | None = None


def parse(answer: bytes) -> Answer | str:
    """Check the helper's answer; a line says what is wrong with it."""
    try:
        return Answer.model_validate_json(answer)
    except ValidationError as error:
        return f"the helper's answer makes no sense ({error.error_count()} errors)"


def mentioned_pids(answer: Answer) -> frozenset[int]:
    """Every process id of an answer that can be one at all."""
    return frozenset(
        pid
        for gpu in answer.gpus
        for part in (gpu, *(gpu.parts or ()))
        for pid, _ in part.processes
        if 0 < pid <= PID_MAX
    )
