import pytest

from orchestrator_core.contracts.pool import Backend, ModelFile
from orchestrator_core.errors import Code
from pool_core.workers.spec import check_spec, device_index
from support.pool_builders import cpu, gpu, spec

HOST = [gpu(0), gpu(1), cpu()]


def test_a_cpu_worker_fits_a_cpu_host() -> None:
    assert check_spec(spec(threads=4, device_ids=("cpu",)), [cpu()], cpus=4) is None


@pytest.mark.parametrize("backend", [Backend.ROCM, Backend.METAL])
def test_refuses_a_backend_that_no_device_offers(backend: Backend) -> None:
    refusal = check_spec(spec(backend=backend), HOST, cpus=4)
    assert refusal is not None
    assert refusal.code is Code.BACKEND_UNAVAILABLE
    assert refusal.message == f"no device of this host offers {backend.value}"
    assert refusal.details["offered"] == ["cpu", "cuda"]


def test_never_falls_back_to_the_cpu() -> None:
    refusal = check_spec(spec(backend=Backend.CUDA), HOST, cpus=4)
    assert refusal is not None
    assert refusal.code is Code.BACKEND_UNAVAILABLE


def test_refuses_an_engine_that_is_not_installed() -> None:
    refusal = check_spec(spec(engine="llama-server"), HOST, cpus=4)
    assert refusal is not None
    assert refusal.code is Code.BACKEND_UNAVAILABLE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"device_ids": ("GPU-0",)}, "spec.device_ids"),
        ({"threads": 5}, "spec.threads"),
        ({"model": ModelFile(model_id="a\nb", source="builtin", file="x")}, "spec.model"),
        ({"model": ModelFile(model_id="a", source="builtin", file="x\0y")}, "spec.model"),
    ],
)
def test_refuses_bad_values_by_field(changes: dict[str, object], field: str) -> None:
    refusal = check_spec(spec(**changes), HOST, cpus=4)
    assert refusal is not None
    assert (refusal.code, refusal.details["field"]) == (Code.INVALID_REQUEST, field)


def test_a_name_shows_the_first_device_that_was_asked_for() -> None:
    assert device_index(spec(backend=Backend.CUDA, device_ids=("GPU-1",)), HOST) == 1
    assert device_index(spec(backend=Backend.CUDA), HOST) == 0
    assert device_index(spec(), []) == 0
