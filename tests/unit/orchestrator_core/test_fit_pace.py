from orchestrator_core.contracts.pool import Backend
from orchestrator_core.fit.pace import predicted_step_s, stall_s

GIB = 1 << 30


def test_a_small_model_has_a_minute() -> None:
    assert stall_s(1_000_000, 256, Backend.CPU) == 60.0
    assert stall_s(0, 256, Backend.CPU) == 60.0


def test_a_large_model_on_a_cpu_has_three_times_what_a_slow_machine_needs() -> None:
    step_s = predicted_step_s(5 * GIB, 256, Backend.CPU)
    assert 120 < step_s < 240
    assert stall_s(5 * GIB, 256, Backend.CPU) == 3 * step_s


def test_a_card_computes_faster_but_the_disk_is_the_same() -> None:
    assert predicted_step_s(5 * GIB, 256, Backend.CUDA) == 5 * GIB / 100e6


def test_no_silence_is_longer_than_a_day() -> None:
    assert stall_s(10_000 * GIB, 16_384, Backend.CPU) == 86_400.0
