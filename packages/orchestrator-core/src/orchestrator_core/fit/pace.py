"""Predicts the longest honest silence of a worker that computes, and so when it counts as stuck.

An engine's counters move once per step, and the longest step is a whole batch of a prompt. The
speeds are those of slow machines, since ending a slow worker is worse than waiting for a dead one.
"""

from typing import Final

from orchestrator_core.contracts.pool import Backend

__all__ = ["predicted_step_s", "stall_s"]

_LEAST_STALL_S: Final = 60.0
_MOST_STALL_S: Final = 86_400.0
_MARGIN: Final = 3.0
_PARAMETERS_PER_BYTE: Final = 2.0
_FLOP_PER_PARAMETER: Final = 2.0
_CPU_FLOP_PER_S: Final = 30e9
_GPU_FLOP_PER_S: Final = 2e12
# A mapped file may have left the memory and is then read again from a slow disk.
_DISK_BYTES_PER_S: Final = 100e6


def predicted_step_s(weights_bytes: int, batch_size: int, backend: Backend) -> float:
    """How long one batch may take on a slow machine of this kind."""
    flop = weights_bytes * _PARAMETERS_PER_BYTE * _FLOP_PER_PARAMETER * batch_size
    speed = _CPU_FLOP_PER_S if backend is Backend.CPU else _GPU_FLOP_PER_S
    return max(flop / speed, weights_bytes / _DISK_BYTES_PER_S)


def stall_s(weights_bytes: int, batch_size: int, backend: Backend) -> float:
    """How long a busy worker may show no progress; a model of unknown size has 0 bytes."""
    predicted_s = predicted_step_s(weights_bytes, batch_size, backend)
    return min(max(_LEAST_STALL_S, _MARGIN * predicted_s), _MOST_STALL_S)
