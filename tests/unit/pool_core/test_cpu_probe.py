from pathlib import Path

from orchestrator_core.contracts.pool import Backend
from pool_core.devices.cpu import CpuProbe, cgroup_paths, parse_cpuinfo, parse_meminfo
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


def test_reads_both_kinds_of_cgroup() -> None:
    unified, memory = cgroup_paths("12:cpu,cpuacct:/a\n4:memory:/b/c\n0::/d\n")
    assert (str(unified), str(memory)) == ("/d", "/b/c")
    assert cgroup_paths("") == (None, None)


def test_a_bare_host_offers_all_it_has(tmp_path: Path) -> None:
    [device] = probe(tmp_path, {}).probe()
    assert (device.id, device.index, device.kind, device.name) == (
        "cpu",
        0,
        "cpu",
        "Imaginary 9000",
    )
    assert device.backends == [Backend.CPU]
    assert (device.memory_total_bytes, device.memory_free_bytes) == (16 * GIB, 8 * GIB)
    assert device.cores == 8


def test_affinity_limits_the_cores(tmp_path: Path) -> None:
    [device] = probe(tmp_path, {}, cpus=3).probe()
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
    [device] = probe(tmp_path, files).probe()
    assert (device.memory_total_bytes, device.memory_free_bytes) == (4 * GIB, 2 * GIB)
    assert device.cores == 3


def test_an_older_hybrid_host_limits_memory_its_own_way(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/box\n0::/\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    [device] = probe(tmp_path, files).probe()
    assert (device.memory_total_bytes, device.memory_free_bytes) == (2 * GIB, GIB)


def test_unreadable_files_are_missing_facts_not_errors(tmp_path: Path) -> None:
    [device] = CpuProbe(tmp_path / "nothing", lambda: 2).probe()
    assert (device.name, device.cores, device.memory_total_bytes) == ("CPU", 2, 0)
