from typing import Any

import pytest

from orchestrator_core.contracts.pool import Backend, DeviceReport
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.host_picture import HostPicture
from pool_core.workers.targets import choose_devices
from support.pool_builders import cpu, gpu, spec

GIB = 1 << 30
FLAGS = ("avx2", "f16c", "fma")
APPLE = cpu(
    id="APPLE-1", kind="gpu", name="M3", backends=[Backend.METAL], unified_memory=True, cores=None
)


def host(*devices: DeviceReport, **changes: Any) -> HostPicture:
    facts: dict[str, Any] = {
        "devices": devices,
        "reserved_bytes": {},
        "cpus": 4,
        "system": "linux",
        "machine": "x86_64",
    }
    return HostPicture(**facts | changes)


def refused(answer: tuple[DeviceReport, ...] | Refusal) -> tuple[Code, str]:
    assert isinstance(answer, Refusal)
    return answer.code, answer.message


def test_a_worker_gets_the_device_that_it_named_or_the_only_one() -> None:
    machine = host(gpu(0), cpu(features=FLAGS))
    for ids in ((), ("cpu",)):
        chosen = choose_devices(spec(device_ids=ids), machine)
        assert not isinstance(chosen, Refusal)
        assert [device.id for device in chosen] == ["cpu"]


@pytest.mark.parametrize(
    ("backend", "devices", "changes", "message"),
    [
        (Backend.METAL, [cpu()], {}, "metal needs a Mac: this is a Linux host"),
        (Backend.METAL, [cpu()], {"system": "win32"}, "metal needs a Mac: this is a Windows host"),
        (
            Backend.METAL,
            [cpu()],
            {"system": "darwin", "machine": "arm64"},
            "metal needs a GPU made by Apple: this host shows none",
        ),
        (Backend.CUDA, [cpu()], {}, "cuda needs an NVIDIA GPU: this host shows none"),
        (Backend.ROCM, [gpu(0), cpu()], {}, "rocm needs an AMD GPU with its ROCm driver"),
        (Backend.VULKAN, [cpu()], {}, "vulkan needs a GPU with a Vulkan driver"),
        (Backend.SYCL, [cpu()], {}, "sycl needs an Intel GPU"),
        (Backend.CPU, [gpu(0)], {}, "cpu needs a CPU whose memory can be read"),
        (
            Backend.CUDA,
            [gpu(0), cpu()],
            {},
            "no engine build for cuda is installed on this host: this version brings the engine "
            "for cpu (and metal on a Mac)",
        ),
    ],
)
def test_a_backend_that_cannot_be_had_is_refused_and_never_replaced(
    backend: Backend, devices: list[DeviceReport], changes: dict[str, object], message: str
) -> None:
    code, said = refused(choose_devices(spec(backend=backend), host(*devices, **changes)))
    assert code is Code.BACKEND_UNAVAILABLE
    assert said.startswith(message)


def test_a_refused_backend_names_what_is_offered() -> None:
    answer = choose_devices(spec(backend=Backend.ROCM), host(gpu(0), gpu(1), cpu()))
    assert isinstance(answer, Refusal)
    assert answer.details["offered"] == ["cpu", "cuda"]


def test_a_mac_offers_metal() -> None:
    machine = host(APPLE, cpu(), system="darwin", machine="arm64")
    assert choose_devices(spec(backend=Backend.METAL), machine) == (APPLE,)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("GPU-7",), "this host has no cuda device GPU-7: it has 0 (GPU-0), 1 (GPU-1)"),
        (("7",), "this host has no cuda device 7: it has 0 (GPU-0), 1 (GPU-1)"),
        (("GPU-0", "GPU-0"), "GPU-0 is named twice"),
        (("cpu",), "cpu is no cuda device: it offers cpu"),
        (("\x1b[31m",), r"this host has no cuda device '\x1b[31m': it has"),
        (("",), "this host has no cuda device '': it has"),
    ],
)
def test_a_device_that_cannot_be_meant_is_refused_by_name(
    ids: tuple[str, ...], message: str
) -> None:
    order = spec(backend=Backend.CUDA, device_ids=ids)
    code, said = refused(choose_devices(order, host(gpu(0), gpu(1), cpu())))
    assert code is Code.INVALID_REQUEST
    assert said.startswith(f"spec.device_ids: {message}")


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        (cpu(stale=True, fault="GPU is lost"), "GPU is lost"),
        (cpu(fault="fatal Xid 79"), "fatal Xid 79"),
        (cpu(stale=True), "its driver does not answer any more"),
    ],
)
@pytest.mark.parametrize("ids", [(), ("cpu",)])
def test_a_faulty_device_is_refused_with_its_fault(
    device: DeviceReport, fault: str, ids: tuple[str, ...]
) -> None:
    code, said = refused(choose_devices(spec(device_ids=ids), host(device)))
    assert code is Code.BACKEND_UNAVAILABLE
    assert said == f"cpu (Test CPU) cannot be used now: {fault}"


def test_the_sound_device_with_the_most_memory_left_is_taken() -> None:
    devices = [
        APPLE.model_copy(update={"id": name, "index": place, "unified_memory": False, **changes})
        for place, (name, changes) in enumerate(
            {
                "full": {"memory_free_bytes": 1 * GIB},
                "promised": {"memory_free_bytes": 6 * GIB},
                "free": {"memory_free_bytes": 5 * GIB},
                "as free": {"memory_free_bytes": 5 * GIB},
                "broken": {"memory_free_bytes": 8 * GIB, "stale": True},
            }.items()
        )
    ]
    machine = host(*devices, system="darwin", reserved_bytes={"promised": 2 * GIB})
    chosen = choose_devices(spec(backend=Backend.METAL), machine)
    assert not isinstance(chosen, Refusal)
    assert [device.id for device in chosen] == ["free"]


@pytest.mark.parametrize(
    ("engine", "code", "message"),
    [
        ("llama-server", Code.BACKEND_UNAVAILABLE, "no llama-server build is installed"),
        ("openai", Code.INVALID_REQUEST, "spec.engine: an external server"),
    ],
)
def test_an_engine_that_cannot_be_started_is_refused(engine: str, code: Code, message: str) -> None:
    found, said = refused(choose_devices(spec(engine=engine), host(cpu())))
    assert found is code
    assert said.startswith(message)


@pytest.mark.parametrize("machine", ["x86_64", "amd64", "AMD64"])
@pytest.mark.parametrize(
    ("features", "missing"), [(("avx",), "AVX2, FMA, F16C"), (("avx2", "fma"), "F16C")]
)
def test_a_cpu_that_would_kill_the_engine_is_refused(
    machine: str, features: tuple[str, ...], missing: str
) -> None:
    answer = choose_devices(spec(), host(cpu(features=features), machine=machine))
    code, said = refused(answer)
    assert code is Code.BACKEND_UNAVAILABLE
    assert said.startswith(f"this CPU has no {missing};")


@pytest.mark.parametrize(
    ("features", "machine"), [((), "x86_64"), (("asimddp",), "aarch64"), (FLAGS, "x86_64")]
)
def test_an_unknown_or_other_cpu_is_not_judged(features: tuple[str, ...], machine: str) -> None:
    answer = choose_devices(spec(), host(cpu(features=features), machine=machine))
    assert not isinstance(answer, Refusal)


def test_devices_in_one_main_memory_share_its_promises() -> None:
    card = gpu(0)
    main = cpu(memory_free_bytes=8 * GIB)
    machine = host(APPLE, main, card, reserved_bytes={"cpu": GIB, "APPLE-1": 2 * GIB, "GPU-0": 1})
    assert machine.left_bytes(main) == 5 * GIB
    assert machine.promised_bytes(APPLE) == 3 * GIB
    assert machine.left_bytes(card) == card.memory_free_bytes - 1
    assert host(main, reserved_bytes={"cpu": 9 * GIB}).left_bytes(main) == 0


@pytest.mark.parametrize(
    ("backend", "vendor", "fault"),
    [
        (
            Backend.ROCM,
            "amd",
            "no access to /dev/kfd: add this user to the groups render and video",
        ),
        (Backend.METAL, "apple", "this Python is an Intel build that runs under Rosetta"),
    ],
)
def test_a_card_that_offers_nothing_says_why(backend: Backend, vendor: str, fault: str) -> None:
    card = cpu(id="GPU-7", kind="gpu", name="Card", backends=[], vendor=vendor, fault=fault)
    other = cpu(id="GPU-8", kind="gpu", backends=[], vendor="nvidia", fault="another's")
    machine = host(other, card, cpu(), system="darwin" if vendor == "apple" else "linux")
    code, message = refused(choose_devices(spec(backend=backend), machine))
    assert code is Code.BACKEND_UNAVAILABLE
    assert message == f"GPU-7 (Card) cannot be used now: {fault}"
