"""Decides whether an order's own values make sense on any host with so many CPUs: pure.

Some values make an engine abort or hang for ever, so each is refused here by its field's name. The
contract refuses most of them too; an order that came another way must not get further either.
"""

from collections.abc import Iterator
from typing import Final

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal

__all__ = ["MAX_CTX_TOTAL", "check_values", "invalid"]

MAX_CTX_TOTAL: Final = 1 << 24
"""Tokens of all slots together; far above it engines count wrongly or hang while they allocate."""

_MAX_SLOTS: Final = 256
_MIN_BATCH: Final = 32
_MAX_BATCH: Final = 16_384
# A vector's whole text is one batch, and this is the largest that a worker accepts.
_MAX_VECTOR_CTX: Final = 65_536
_MAX_ALIAS: Final = 256
_MAX_FILE: Final = 4096


def check_values(order: WorkerSpec, cpus: int) -> Refusal | None:
    """Name the first value that no engine must be given, or None."""
    checks = (*_numbers(order, cpus), *_names(order))
    return next((invalid(field, why) for holds, field, why in checks if not holds), None)


def invalid(field: str, why: str) -> Refusal:
    """The refusal of one field of the spec."""
    return Refusal(Code.INVALID_REQUEST, f"spec.{field}: {why}", {"field": f"spec.{field}"})


_Check = tuple[bool, str, str]


def _numbers(order: WorkerSpec, cpus: int) -> Iterator[_Check]:
    ctx, parallel, threads = order.ctx, order.parallel, order.threads
    if threads is not None:
        yield (
            1 <= threads <= cpus,
            "threads",
            f"{threads} threads: must be 1 to {cpus}, the CPUs of this host",
        )
    if parallel is not None:
        yield (
            1 <= parallel <= _MAX_SLOTS,
            "parallel",
            f"{parallel} slots: must be 1 to {_MAX_SLOTS}",
        )
    if ctx is not None:
        yield ctx > 0, "ctx", f"{ctx} tokens: must be above 0"
        total = ctx * (parallel or 1)
        yield (
            total <= MAX_CTX_TOTAL,
            "ctx",
            f"{ctx} tokens for each of {parallel or 1} slots: at most {MAX_CTX_TOTAL} in all",
        )
        yield (
            order.task is TaskKind.GENERATE or ctx <= _MAX_VECTOR_CTX,
            "ctx",
            f"{ctx} tokens: at most {_MAX_VECTOR_CTX} for {order.task.value}",
        )
    yield (
        _MIN_BATCH <= order.batch_size <= _MAX_BATCH,
        "batch_size",
        f"{order.batch_size} tokens: must be {_MIN_BATCH} to {_MAX_BATCH}",
    )


def _names(order: WorkerSpec) -> Iterator[_Check]:
    alias, file = order.model.model_id, order.model.file
    is_spelled = alias.isascii() and alias.isprintable() and not any(sign in alias for sign in " ,")
    yield (
        is_spelled and 1 <= len(alias) <= _MAX_ALIAS and not alias.startswith("-"),
        "model.model_id",
        f"must be 1 to {_MAX_ALIAS} printable ASCII characters without spaces and commas, "
        "and begin with no dash",
    )
    # An engine opens what stands before a NUL: another file than the one that was checked.
    yield (
        file.isprintable() and 1 <= len(file) <= _MAX_FILE,
        "model.file",
        f"must be 1 to {_MAX_FILE} printable characters",
    )
