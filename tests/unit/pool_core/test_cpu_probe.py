from pathlib import Path

from orchestrator_core.contracts.pool import Backend
from pool_core.devices.cpu import CpuProbe, parse_cpu_times, parse_cpuinfo
from pool_core.devices.host_memory import parse_meminfo
from pool_core.devices.mac_cpu import HostLoad, mac_load
from pool_core.devices.mac_facts import parse_sysctl
from support.device_trees import Programs
from support.pool_builders import write_tree

GIB = 1 << 30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1048576 kB\nMemAvailable:    8388608 kB\n"


def core(processor: int, physical: int, core_id: int) -> str:
    return (
        f"processor\t: {processor}\nmodel name\t: Imaginary 9000\nphysical id\t: {physical}\n"
        f"core id\t\t: {core_id}\nflags\t\t: fpu sse avx avx2 fma f16c\n"
    )


CPUINFO = "\n".join(core(n, n // 8, n % 4) for n in range(16))


def probe(root: Path, files: dict[str, str], cpus: int = 16) -> CpuProbe:
    return CpuProbe(
        write_tree(root, {"proc/cpuinfo": CPUINFO, "proc/meminfo": MEMINFO} | files), lambda: cpus
    )


def test_counts_physical_cores_and_keeps_telling_flags() -> None:
    facts = parse_cpuinfo(CPUINFO)
    assert (facts.name, facts.cores) == ("Imaginary 9000", 8)
    assert facts.features == ("avx", "avx2", "f16c", "fma")


def test_an_arm_host_tells_less() -> None:
    text = "processor : 0\nFeatures : fp asimd asimddp i8mm\n\nprocessor : 1\n\nModel : Pi 9\n"
    facts = parse_cpuinfo(text)
    assert (facts.name, facts.cores, facts.features) == ("Pi 9", None, ("asimddp", "i8mm"))


def test_reads_memory_in_bytes() -> None:
    assert parse_meminfo(MEMINFO) == (16 * GIB, 8 * GIB)
    assert parse_meminfo("nonsense") == (0, 0)


def test_a_bare_host_offers_all_it_has(tmp_path: Path) -> None:
    [device] = probe(tmp_path, {}).look().devices
    assert (device.id, device.index, device.kind, device.name) == (
        "cpu",
        0,
        "cpu",
        "Imaginary 9000",
    )
    assert device.backends == [Backend.CPU]
    assert (device.memory_total_bytes, device.memory_free_bytes) == (16 * GIB, 8 * GIB)
    assert device.cores == 8
    assert (device.vendor, device.fault, device.memory_used_bytes) == ("other", None, 8 * GIB)


def test_affinity_limits_the_cores(tmp_path: Path) -> None:
    [device] = probe(tmp_path, {}, cpus=3).look().devices
    assert device.cores == 3


def test_the_tightest_cgroup_level_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box/inner\n",
        "sys/fs/cgroup/box/inner/memory.max": "max\n",
        "sys/fs/cgroup/box/inner/cpu.max": "max 100000\n",
        "sys/fs/cgroup/box/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/box/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/box/memory.stat": f"anon 5\ninactive_file {GIB}\n",
        "sys/fs/cgroup/box/cpu.max": "250000 100000\n",
    }
    [device] = probe(tmp_path, files).look().devices
    assert (device.memory_total_bytes, device.memory_free_bytes) == (4 * GIB, 2 * GIB)
    assert device.cores == 3


def test_an_older_hybrid_host_limits_memory_its_own_way(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/box\n0::/\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    [device] = probe(tmp_path, files).look().devices
    assert (device.memory_total_bytes, device.memory_free_bytes) == (2 * GIB, GIB)


def test_unreadable_files_are_missing_facts_not_errors(tmp_path: Path) -> None:
    [device] = CpuProbe(tmp_path / "nothing", lambda: 2).look().devices
    assert (device.name, device.cores, device.memory_total_bytes) == ("CPU", 2, 0)
    assert (device.memory_used_bytes, device.utilization_percent) == (None, None)


def test_load_is_what_happened_between_two_looks(tmp_path: Path) -> None:
    probing = probe(tmp_path, {"proc/stat": "cpu  100 0 50 800 50 0 0 0 70 0\ncpu0 1 2 3\n"})
    assert probing.look().devices[0].utilization_percent is None
    write_tree(tmp_path, {"proc/stat": "cpu  125 0 50 870 55 0 0 0 90 0\n"})
    assert probing.look().devices[0].utilization_percent == 25.0
    assert probing.look().devices[0].utilization_percent is None, "no time has passed"


def test_counters_that_are_no_counters_tell_no_load() -> None:
    assert parse_cpu_times("cpu 1 2 3 4 5 6 7 8 9\n") == (27, 36)
    assert [parse_cpu_times(text) for text in ("", "cpu\n", "intr 1 2 3 4 5 6\n")] == [None] * 3


def test_a_mac_shares_its_memory_with_its_gpu(tmp_path: Path) -> None:
    loads = [HostLoad(64 * GIB, 40 * GIB, 10.0, 100.0), HostLoad(64 * GIB, 30 * GIB, 15.0, 110.0)]
    mac = CpuProbe(
        tmp_path, lambda: 12, platform="darwin", run=Programs({}), load=lambda: loads.pop(0)
    )
    [device] = mac.look().devices
    assert (device.id, device.name, device.cores) == ("cpu", "Apple M2 Max", 12)
    assert (device.features, device.unified_memory) == (("asimddp", "i8mm"), True)
    assert (device.memory_total_bytes, device.memory_free_bytes) == (64 * GIB, 40 * GIB)
    assert (device.memory_used_bytes, device.utilization_percent) == (24 * GIB, None)
    [later] = mac.look().devices
    assert (later.memory_used_bytes, later.utilization_percent) == (34 * GIB, 50.0)


def test_an_older_mac_names_features_as_its_maker_does(tmp_path: Path) -> None:
    told = (
        "machdep.cpu.brand_string: Imaginary Core i9\nhw.physicalcpu: 8\n"
        "machdep.cpu.features: FPU SSE4.2 AVX1.0 FMA F16C\nmachdep.cpu.leaf7_features: BMI2 AVX2\n"
    )
    mac = CpuProbe(
        tmp_path,
        lambda: 16,
        platform="darwin",
        run=Programs({"sysctl": told}),
        load=lambda: HostLoad(16 * GIB, 8 * GIB, 0.0, 1.0),
    )
    [device] = mac.look().devices
    assert device.features == ("avx", "avx2", "bmi2", "f16c", "fma")
    assert (device.cores, device.unified_memory) == (8, False)


def test_a_mac_that_tells_nothing_is_still_a_processor(tmp_path: Path) -> None:
    def broken() -> HostLoad:
        raise OSError("no")

    silent = CpuProbe(
        tmp_path,
        lambda: 4,
        platform="darwin",
        run=Programs({"sysctl": None}),
        load=lambda: HostLoad(GIB, GIB, 0.0, 0.0),
    )
    [device] = silent.look().devices
    assert (device.name, device.cores, device.features) == ("CPU", 4, ())
    failing = CpuProbe(tmp_path, platform="darwin", run=Programs({}), load=broken)
    assert failing.look().fault == "the system does not tell its memory: no"


def test_a_name_that_a_mac_does_not_know_shifts_no_other_value() -> None:
    told = parse_sysctl("hw.model: Mac14,6\nsysctl: unknown oid\nhw.memsize: 17\n\n")
    assert (told["hw.model"], told["hw.memsize"]) == ("Mac14,6", "17")


def test_closing_is_harmless(tmp_path: Path) -> None:
    probe(tmp_path, {}).close()


def test_the_load_of_a_mac_comes_from_psutil() -> None:
    # psutil speaks of every system in the same words, so this holds on any host.
    load = mac_load()
    assert 0 < load.memory_available_bytes <= load.memory_total_bytes
    assert 0 < load.cpu_busy_s < load.cpu_total_s
