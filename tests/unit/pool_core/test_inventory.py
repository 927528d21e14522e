from pathlib import Path

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.devices.inventory import merge, probe_devices
from pool_core.devices.registry import PROBES
from support.pool_builders import cpu, gpu


def test_gpus_come_first_and_the_earlier_word_counts() -> None:
    first, second = gpu(0), gpu(0).model_copy(update={"name": "the same card again"})
    assert merge([[cpu()], [gpu(1), first], [second]]) == [first, gpu(1), cpu()]


def test_asks_every_probe_of_the_registry(tmp_path: Path) -> None:
    class Two:
        def __init__(self, root: Path) -> None:
            assert root == tmp_path

        def probe(self) -> list[DeviceReport]:
            return [gpu(0)]

    assert probe_devices(tmp_path, {"two": Two, "again": Two}) == [gpu(0)]


def test_this_host_has_a_cpu() -> None:
    assert list(PROBES) == ["cpu"]
    device = probe_devices()[-1]
    assert device.kind == "cpu"
    assert device.cores is not None
    assert device.cores >= 1
    assert 0 < device.memory_free_bytes <= device.memory_total_bytes
