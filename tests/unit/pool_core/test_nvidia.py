"""The NVIDIA probe with the real pynvml in its helper process, over a stub of the driver."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator_core.contracts.pool import Backend, DeviceProcess, DeviceReport
from orchestrator_core.testing.clocks import FakeClock
from pool_core.devices.nvidia import NvidiaProbe, has_nvidia_card, process_exists
from pool_core.devices.port import Sighting
from pool_core.devices.tree import Tree
from support.pool_builders import write_tree
from support.stub_gpus import GPU_IS_LOST, UNKNOWN_ERROR, StubGpus, build_stub, gpu_id
from support.waiting import until_sync

MIB = 1 << 20
DRIVER_NOT_LOADED, LIBRARY_MISMATCH = 9, 18
CARD = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
}


@pytest.fixture
def gpus(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> StubGpus:
    """Two cards that every process started from here on can see."""
    gpus = StubGpus(build_stub(tmp_path_factory), tmp_path / "gpus.txt")
    for name, value in gpus.env.items():
        monkeypatch.setenv(name, value)
    return gpus


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host without PCI devices and with 64 GiB of memory."""
    meminfo = "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n"
    return write_tree(tmp_path / "root", {"proc/meminfo": meminfo})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def probe(root: Path, clock: FakeClock) -> Iterator[NvidiaProbe]:
    """A probe for which every process up to 999 is alive."""
    probe = NvidiaProbe(root, clock=clock, timeout_s=2.0, exists=lambda pid: pid < 1000)
    yield probe
    probe.close()


def seen(probe: NvidiaProbe) -> tuple[DeviceReport, ...]:
    """What the first answer shows, however long the helper takes to start on a busy machine."""
    return until_sync(lambda: probe.look().devices, timeout_s=30, what="the first answer")


def answered(probe: NvidiaProbe) -> Sighting:
    """The first look that is more than waiting."""

    def settled() -> Sighting | None:
        sighting = probe.look()
        return None if "no answer in" in (sighting.fault or "") else sighting

    return until_sync(settled, timeout_s=30, what="an answer")


def fault_of(probe: NvidiaProbe) -> str:
    fault = probe.look().fault
    assert fault is not None
    return fault


def test_two_cards_with_all_their_facts(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["gpu0.used"] = 2048
    gpus["gpu0.procs"] = "101:2048,102:na"
    gpus["gpu0.gprocs"] = "101:16"
    gpus["gpu1.cc"] = "12.0"
    gpus["gpu1.util"] = 97
    gpus["gpu1.name"] = "NVIDIA Other"
    first, second = seen(probe)
    assert first == DeviceReport(
        id=gpu_id(0),
        index=0,
        kind="gpu",
        name="NVIDIA Stub 24GB",
        backends=[Backend.CUDA],
        memory_total_bytes=24564 * MIB,
        memory_free_bytes=(24564 - 512 - 2048) * MIB,
        memory_used_bytes=2048 * MIB,
        vendor="nvidia",
        architecture="8.9",
        driver="570.86.15",
        pci_address="0000:01:00.0",
        utilization_percent=0,
        temperature_c=40,
        power_w=30,
        power_limit_w=450,
        processes=(
            DeviceProcess(pid=101, memory_bytes=2048 * MIB),
            DeviceProcess(pid=102, memory_bytes=None),
        ),
    )
    assert (second.id, second.index, second.name) == (gpu_id(1), 1, "NVIDIA Other")
    assert (second.architecture, second.utilization_percent) == ("12.0", 97)
    gpus["gpu0.used"] = 4096
    assert probe.look().devices[0].memory_used_bytes == 4096 * MIB


def test_the_library_is_loaded_by_the_helper_alone_and_initialised_once(
    gpus: StubGpus, probe: NvidiaProbe
) -> None:
    gpus.record_calls()
    seen(probe)
    pid = probe.helper_pid
    for _ in range(5):
        assert len(probe.look().devices) == 2
    assert probe.helper_pid == pid
    assert gpus.calls_of("nvmlInitWithFlags") == 1
    assert gpus.calls_of("nvmlDeviceGetName") == 2
    mapped = [Path(it.path).name for it in psutil.Process().memory_maps()]
    assert "libnvidia-ml.so.1" not in mapped


def test_processes_that_do_not_exist_are_dropped(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["gpu0.procs"] = "101:64,1000:64"
    assert [it.pid for it in seen(probe)[0].processes] == [101]


def test_in_a_container_the_processes_of_the_host_are_kept(
    gpus: StubGpus, probe: NvidiaProbe, root: Path
) -> None:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to("pid:[4026532999]")
    gpus["gpu0.procs"] = "101:64,1000:64"
    assert [it.pid for it in seen(probe)[0].processes] == [101, 1000]


def test_unified_memory_is_that_of_the_host(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["gpu0.mem"] = "na"
    device = seen(probe)[0]
    assert device.unified_memory
    assert device.memory_total_bytes == 64 << 30
    assert device.memory_free_bytes == 32 << 30


def test_a_split_card_shows_its_parts(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["gpu0.mig"] = 1
    gpus["gpu0.migs"] = 2
    gpus["gpu0.util"] = "na"
    gpus["gpu0.mig1.uuid"] = "MIG-second"
    gpus["gpu0.mig1.total"] = 4096
    gpus["gpu0.mig1.procs"] = "7:100"
    whole, first, second, other = seen(probe)
    assert (whole.backends, whole.utilization_percent) == ([], None)
    assert (second.id, second.parent_id) == ("MIG-second", gpu_id(0))
    assert second.memory_total_bytes == 4096 * MIB
    assert second.processes == (DeviceProcess(pid=7, memory_bytes=100 * MIB),)
    assert [it.index for it in (whole, first, second, other)] == [0, 2, 3, 1]


def test_a_lost_card_stays_and_hides_no_other(gpus: StubGpus, probe: NvidiaProbe) -> None:
    before = seen(probe)
    with gpus.world(gpu0__err=GPU_IS_LOST, gpu1__util=50):
        first, second = probe.look().devices
    assert first == before[0].model_copy(update={"stale": True, "fault": "lost: GPU is lost"})
    assert (second.stale, second.utilization_percent) == (False, 50)
    assert probe.look().devices == before


def test_a_card_that_was_lost_before_the_first_look_is_told(
    gpus: StubGpus, probe: NvidiaProbe
) -> None:
    gpus["gpu0.err"] = GPU_IS_LOST
    assert [it.id for it in seen(probe)] == [gpu_id(1)]
    assert fault_of(probe) == "NVIDIA GPU 0: lost: GPU is lost"


def test_while_a_card_is_lost_the_library_is_loaded_anew_once_a_minute(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    seen(probe)
    gpus["gpu0.err"] = GPU_IS_LOST
    pid = probe.helper_pid
    probe.look()
    clock.advance(59)
    probe.look()
    assert probe.helper_pid == pid
    clock.advance(1)
    assert [it.stale for it in probe.look().devices] == [True, False]
    assert [it.stale for it in seen(probe)] == [True, False]
    assert probe.helper_pid not in (pid, None)


def test_a_card_that_the_driver_forgets_stays_while_the_system_knows_it(
    gpus: StubGpus, probe: NvidiaProbe, root: Path
) -> None:
    before = seen(probe)
    (root / "sys/bus/pci/drivers/nvidia/0000:02:00.0").mkdir(parents=True)
    gpus["count"] = 1
    first, second = probe.look().devices
    assert first == before[0]
    assert (second.id, second.stale) == (gpu_id(1), True)


def test_an_unknown_error_is_no_proof_that_the_cards_are_gone(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    before = seen(probe)
    with gpus.world(fail=f"nvmlDeviceGetUUID:{UNKNOWN_ERROR}"):
        stale = probe.look()
    assert [(it.id, it.stale, it.fault) for it in stale.devices] == [
        (gpu_id(index), True, "Unknown Error") for index in (0, 1)
    ]
    assert probe.look() == stale
    assert probe.helper_pid is None
    clock.advance(5)
    assert seen(probe) == before


def test_an_unknown_error_of_the_driver_leaves_it_to_the_inventory_what_was_seen(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    before = seen(probe)
    with gpus.world(fail=f"nvmlDeviceGetCount_v2:{UNKNOWN_ERROR}"):
        assert probe.look() == Sighting(fault="the NVIDIA driver answers: Unknown Error")
    clock.advance(5)
    assert seen(probe) == before


def test_no_card_is_no_fault(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["count"] = 0
    assert answered(probe) == Sighting()


def test_without_the_library_there_is_no_card_and_no_helper(
    probe: NvidiaProbe, clock: FakeClock, gpus: StubGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.record_calls()
    with monkeypatch.context() as without:
        without.setenv("LD_LIBRARY_PATH", "/nonexistent")
        assert answered(probe) == Sighting()
    assert probe.helper_pid is None
    clock.advance(59)
    assert probe.look() == Sighting()
    assert gpus.calls_of("nvmlInitWithFlags") == 0
    clock.advance(1)
    assert len(seen(probe)) == 2


@pytest.mark.parametrize("card", [None, CARD], ids=["no card", "a card"])
def test_a_driver_that_is_not_loaded_is_a_fault_only_where_a_card_is(
    gpus: StubGpus, probe: NvidiaProbe, root: Path, card: dict[str, str] | None
) -> None:
    write_tree(root, card or {})
    gpus["init"] = DRIVER_NOT_LOADED
    sighting = answered(probe)
    assert sighting.devices == ()
    assert ("modprobe nvidia" in (sighting.fault or "")) == (card is not None)
    assert probe.helper_pid is None


def test_a_driver_that_differs_from_its_library_asks_for_a_reboot(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    gpus["init"] = LIBRARY_MISMATCH
    assert "reboot" in (answered(probe).fault or "")
    del gpus["init"]
    clock.advance(5)
    assert len(seen(probe)) == 2


def test_a_hanging_driver_is_left_alone_for_longer_and_longer(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    before = seen(probe)
    pid = probe.helper_pid
    assert pid is not None
    gpus["hang"] = "*"
    assert fault_of(probe) == "the NVIDIA driver does not answer: no answer in 2 s"
    until_sync(lambda: not is_running(pid), what="the end of the hanging helper")
    del gpus["hang"]
    assert fault_of(probe).endswith("no answer in 2 s")
    assert probe.helper_pid is None
    clock.advance(5)
    assert seen(probe) == before


def test_each_failure_doubles_the_pause(root: Path, clock: FakeClock) -> None:
    probe = NvidiaProbe(root, clock=clock, argv=[sys.executable, "-c", "input()"], timeout_s=20)
    for pause_s in (5, 10, 20, 40, 80, 160, 300, 300):
        assert "ended without an answer" in fault_of(probe)
        clock.advance(pause_s - 0.1)
        assert probe.look().fault is not None
        assert not probe._is_due()
        clock.advance(0.2)
        assert probe._is_due()
    probe.close()


def test_a_slow_first_answer_is_waited_for_without_blocking(
    gpus: StubGpus, root: Path, clock: FakeClock
) -> None:
    probe = NvidiaProbe(root, clock=clock, timeout_s=0.01)
    with gpus.world(hang="nvmlInitWithFlags"):
        assert fault_of(probe) == "the NVIDIA driver does not answer: no answer in 0.01 s"
        pid = probe.helper_pid
        fault_of(probe)
    assert len(seen(probe)) == 2
    assert probe.helper_pid == pid
    probe.close()


def test_a_huge_answer_is_bounded(gpus: StubGpus, probe: NvidiaProbe) -> None:
    gpus["gpu0.flood"] = 200_000
    first, second = seen(probe)
    assert len(first.processes) == 256
    assert second.processes == ()


def test_a_card_that_is_plugged_in_later_is_asked_for_by_a_new_helper(
    gpus: StubGpus, root: Path, probe: NvidiaProbe
) -> None:
    driven = root / "sys/bus/pci/drivers/nvidia"
    (driven / "0000:01:00.0").mkdir(parents=True)
    seen(probe)
    first = probe.helper_pid
    probe.look()
    assert probe.helper_pid == first
    (driven / "0000:05:00.0").mkdir()
    seen(probe)
    second = probe.helper_pid
    assert second not in (first, None)
    seen(probe)
    assert probe.helper_pid == second


def test_a_helper_that_is_not_needed_any_more_leaves_no_zombie(
    gpus: StubGpus, probe: NvidiaProbe
) -> None:
    others = set(psutil.Process().children())

    def helpers() -> set[psutil.Process]:
        probe.look()
        return set(psutil.Process().children()) - others

    gpus["init"] = DRIVER_NOT_LOADED
    assert answered(probe) == Sighting()
    until_sync(lambda: not helpers(), what="the end of the helper, zombie included")


def test_a_helper_that_was_killed_from_outside_is_replaced_after_a_pause(
    gpus: StubGpus, probe: NvidiaProbe, clock: FakeClock
) -> None:
    before = seen(probe)
    pid = probe.helper_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not is_running(pid), what="the helper's end")
    assert "does not answer" in fault_of(probe)
    clock.advance(5)
    assert seen(probe) == before


def test_an_answer_without_sense_is_a_fault(root: Path, clock: FakeClock) -> None:
    argv = [sys.executable, "-c", "input(); print('[]', flush=True); input()"]
    probe = NvidiaProbe(root, clock=clock, argv=argv, timeout_s=20)
    assert "makes no sense" in fault_of(probe)
    assert probe.helper_pid is None
    probe.close()


def test_a_card_is_known_by_its_vendor_and_its_class(tmp_path: Path) -> None:
    assert not has_nvidia_card(Tree(tmp_path))
    audio = {name: text.replace("0x030000", "0x040300") for name, text in CARD.items()}
    assert not has_nvidia_card(Tree(write_tree(tmp_path / "audio", audio)))
    assert has_nvidia_card(Tree(write_tree(tmp_path / "card", CARD)))


def test_a_process_of_another_user_exists_too() -> None:
    assert process_exists(os.getpid())
    assert process_exists(1)
    assert not process_exists((1 << 22) - 1)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
