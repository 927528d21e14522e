"""The list of devices over probes that fail, hang, misbehave and come back."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.devices.inventory import Inventory, keep_seen, open_inventory
from pool_core.devices.port import Probe, Sighting
from pool_core.devices.registry import PROBES
from support.pool_builders import cpu, gpu
from support.waiting import until_sync


class ScriptedProbe:
    """Shows what it was told last."""

    def __init__(self, *devices: DeviceReport) -> None:
        self.sighting: Sighting | Exception = Sighting(devices)
        self.on_look: Callable[[], None] = lambda: None
        self.closed = 0

    def look(self) -> Sighting:
        self.on_look()
        if isinstance(self.sighting, Exception):
            raise self.sighting
        return self.sighting

    def close(self) -> None:
        self.closed += 1


def inventory(**probes: ScriptedProbe) -> Inventory:
    named: Mapping[str, Probe] = probes
    return Inventory(named)


def stale(device: DeviceReport, fault: str) -> DeviceReport:
    return device.model_copy(update={"stale": True, "fault": fault})


def test_the_words_of_all_probes_become_one_list() -> None:
    devices = inventory(host=ScriptedProbe(cpu()), cards=ScriptedProbe(gpu(0), gpu(1)))
    assert devices.look() == [gpu(0), gpu(1), cpu()]
    assert devices.faults() == {}


def test_a_fault_keeps_what_was_seen_and_calls_it_stale() -> None:
    cards = ScriptedProbe(gpu(0))
    devices = inventory(cards=cards, host=ScriptedProbe(cpu()))
    devices.look()
    cards.sighting = Sighting(fault="no answer")
    assert devices.look() == [stale(gpu(0), "no answer"), cpu()]
    assert devices.faults() == {"cards": "no answer"}
    assert devices.look() == [stale(gpu(0), "no answer"), cpu()]
    cards.sighting = Sighting((gpu(0),))
    assert devices.look() == [gpu(0), cpu()]
    assert devices.faults() == {}


def test_a_fault_invents_nothing_that_was_never_seen() -> None:
    cards = ScriptedProbe()
    cards.sighting = Sighting(fault="no answer")
    devices = inventory(cards=cards)
    assert devices.look() == []
    assert devices.faults() == {"cards": "no answer"}


def test_with_a_fault_a_named_device_is_fresh_and_an_unnamed_one_stays() -> None:
    sighting = Sighting((gpu(1),), "GPU 0 is lost")
    assert keep_seen((gpu(0), gpu(1)), sighting) == (gpu(1), stale(gpu(0), "GPU 0 is lost"))


def test_no_device_and_no_fault_means_that_it_is_gone() -> None:
    cards = ScriptedProbe(gpu(0))
    devices = inventory(cards=cards)
    devices.look()
    cards.sighting = Sighting()
    assert devices.look() == []


def test_a_probe_with_a_defect_hides_no_other_device() -> None:
    cards = ScriptedProbe(gpu(0))
    devices = inventory(cards=cards, host=ScriptedProbe(cpu()))
    devices.look()
    cards.sighting = ValueError("oh")
    fault = "the probe failed: ValueError: oh"
    assert devices.look() == [stale(gpu(0), fault), cpu()]
    assert devices.faults() == {"cards": fault}


def test_threads_look_one_after_the_other() -> None:
    inside: list[int] = []
    most: list[int] = []
    go = threading.Event()

    def look() -> None:
        inside.append(1)
        most.append(len(inside))
        go.wait(10)
        inside.pop()

    cards = ScriptedProbe(gpu(0))
    cards.on_look = look
    devices = inventory(cards=cards)
    threads = [threading.Thread(target=devices.look) for _ in range(4)]
    for thread in threads:
        thread.start()
    until_sync(lambda: most, what="the first look")
    go.set()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1, 1]


def test_closing_closes_every_probe_and_may_be_repeated() -> None:
    cards, host = ScriptedProbe(gpu(0)), ScriptedProbe(cpu())
    devices = inventory(cards=cards, host=host)
    seen = devices.look()
    devices.close()
    devices.close()
    assert cards.closed >= 1
    assert host.closed >= 1
    cards.on_look = lambda: (_ for _ in ()).throw(AssertionError("a closed probe was asked"))
    assert devices.look() == seen
    assert devices.faults() == {}


def test_closing_does_not_wait_for_a_look_that_goes_on() -> None:
    looking, go = threading.Event(), threading.Event()
    cards = ScriptedProbe(gpu(0))
    cards.on_look = lambda: (looking.set(), go.wait(30), None)[2]
    devices = inventory(cards=cards)
    thread = threading.Thread(target=devices.look)
    thread.start()
    assert looking.wait(10)
    devices.close()
    assert cards.closed == 0
    go.set()
    thread.join(10)
    assert cards.closed == 1


def test_the_registry_asks_the_makers_before_vulkan_and_the_processor_last() -> None:
    assert list(PROBES) == ["nvidia", "amd", "apple", "vulkan", "cpu"]


def test_an_empty_host_still_has_a_processor(tmp_path: Path) -> None:
    devices = open_inventory(tmp_path)
    assert [device.kind for device in devices.look()][-1] == "cpu"
    devices.close()


def test_this_host_has_a_cpu() -> None:
    with contextlib.closing(open_inventory()) as devices:
        device = devices.look()[-1]
    assert device.kind == "cpu"
    assert device.cores is not None
    assert device.cores >= 1
    assert 0 < device.memory_free_bytes <= device.memory_total_bytes
