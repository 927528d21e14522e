from orchestrator_core.contracts.pool import Backend
from pool_core.workers.names import choose_name


def test_the_first_worker_of_a_device_has_no_number() -> None:
    assert choose_name(Backend.CPU, 0, set()) == "worker-cpu-0"
    assert choose_name(Backend.CUDA, 3, {"worker-cpu-0"}) == "worker-cuda-3"


def test_names_are_unique_and_used_again() -> None:
    taken = {"worker-cpu-0", "worker-cpu-0-2", "worker-cpu-0-4"}
    assert choose_name(Backend.CPU, 0, taken) == "worker-cpu-0-3"
    assert choose_name(Backend.CPU, 0, taken - {"worker-cpu-0"}) == "worker-cpu-0"
