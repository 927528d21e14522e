"""Asking the library: what is swallowed, what breaks a card, what breaks the whole driver."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from pool_core.devices.nvml_driver import Driver, Record
from pool_core.devices.nvml_library import Nvml


class NvmlError(Exception):
    """As nasty as the real one: it can neither be hashed nor be compared."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value

    def __eq__(self, other: object) -> bool:
        return self.value == cast("NvmlError", other).value

    __hash__ = None  # type: ignore[assignment]


class FakeLibrary:
    """One card; a function whose name is in `fails` raises its codes one by one, the last for ever.

    The code 0 stands for a call that works.
    """

    NVMLError = NvmlError
    nvmlMemory_v2 = 2  # noqa: N815 - the library's name.

    def __init__(self, **fails: list[int]) -> None:
        self.fails = fails
        self.calls: list[str] = []
        memory = SimpleNamespace(total=100, free=70, used=20)
        self.answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: "570.1",
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
            "nvmlDeviceGetName": lambda handle: "Card",
            "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId="00000000:01:00.0"),
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
            "nvmlDeviceGetMemoryInfo": lambda handle, version=None: memory,
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=5),
            "nvmlDeviceGetTemperature": lambda handle, sensor: 40,
            "nvmlDeviceGetPowerUsage": lambda handle: 1000,
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 2000,
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
                SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in range(1, 2000)
            ],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [],
            "nvmlDeviceGetMigMode": lambda handle: [0, 0],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: object) -> Any:
            self.calls.append(name)
            codes = self.fails.get(name, [0])
            code = codes.pop(0) if len(codes) > 1 else codes[0]
            if code:
                raise NvmlError(code)
            return self.answers[name](*args)

        return call


def driver(library: FakeLibrary) -> Driver:
    return Driver(cast("Nvml", library))


def the_card(answer: Record) -> dict[str, Any]:
    (card,) = cast("list[dict[str, Any]]", answer["gpus"])
    return card


def test_initialises_once_and_asks_lasting_facts_once() -> None:
    library = FakeLibrary()
    asked = driver(library)
    first, second = asked.look(), asked.look()
    assert first == second
    assert first["driver"] == "570.1"
    for once in ("nvmlInit", "nvmlDeviceGetName", "nvmlDeviceGetCudaComputeCapability"):
        assert library.calls.count(once) == 1
    assert library.calls.count("nvmlDeviceGetMemoryInfo") == 2


def test_a_swapped_card_is_asked_for_everything_again() -> None:
    library = FakeLibrary()
    asked = driver(library)
    asked.look()
    library.answers["nvmlDeviceGetUUID"] = lambda handle: "GPU-new"
    library.answers["nvmlDeviceGetName"] = lambda handle: "New"
    card = the_card(asked.look())
    assert (card["uuid"], card["name"]) == ("GPU-new", "New")


def test_a_fact_that_is_not_told_is_left_out() -> None:
    library = FakeLibrary(
        nvmlDeviceGetPowerUsage=[3], nvmlDeviceGetTemperature=[999], nvmlDeviceGetMigMode=[13]
    )
    card = the_card(driver(library).look())
    assert (card["power_mw"], card["temperature_c"], card["parts"]) == (None, None, None)
    assert card["power_limit_mw"] == 2000


def test_a_lost_card_is_broken_whichever_fact_tells_it_and_keeps_its_id() -> None:
    library = FakeLibrary(nvmlDeviceGetPowerUsage=[0, 15], nvmlDeviceGetMemoryInfo=[0, 0, 16])
    asked = driver(library)
    asked.look()
    lost = {"index": 0, "uuid": "GPU-0", "error": {"code": 15, "text": "code 15"}}
    assert the_card(asked.look()) == lost
    assert the_card(asked.look())["error"]["code"] == 16


def test_an_old_driver_answers_with_the_older_memory_record() -> None:
    card = the_card(driver(FakeLibrary(nvmlDeviceGetMemoryInfo=[13, 0])).look())
    assert card["memory"] == {"total": 100, "free": 70, "used": 20}
    card = the_card(driver(FakeLibrary(nvmlDeviceGetMemoryInfo=[25, 3])).look())
    assert (card["memory"], card["memory_error"]["code"]) == (None, 3)


def test_an_id_that_is_no_text_breaks_its_card_only() -> None:
    library = FakeLibrary()
    library.answers["nvmlDeviceGetUUID"] = lambda handle: b"\xff".decode()
    assert the_card(driver(library).look())["error"]["code"] == 999


def test_a_reloaded_driver_is_initialised_again_at_once() -> None:
    library = FakeLibrary(nvmlDeviceGetTemperature=[0, 1, 0])
    asked = driver(library)
    asked.look()
    assert the_card(asked.look())["temperature_c"] == 40
    assert library.calls.count("nvmlInit") == 2


def test_a_driver_that_never_gets_initialised_says_so() -> None:
    assert driver(FakeLibrary(nvmlDeviceGetCount=[1])).look() == {
        "error": {"code": 1, "text": "Uninitialized"}
    }


def test_an_error_of_the_whole_driver_is_tried_anew_with_the_next_question() -> None:
    library = FakeLibrary(nvmlDeviceGetCount=[999, 0], nvmlShutdown=[999])
    asked = driver(library)
    assert asked.look() == {"error": {"code": 999, "text": "code 999"}}
    assert the_card(asked.look())["uuid"] == "GPU-0"
    assert library.calls.count("nvmlInit") == 2


def test_the_number_of_processes_is_bounded() -> None:
    assert len(the_card(driver(FakeLibrary()).look())["processes"]) == 512
