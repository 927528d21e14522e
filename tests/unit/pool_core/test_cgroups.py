from pathlib import Path

from pool_core.devices.cgroups import GroupLimits, group_limits, parse_groups
from pool_core.devices.tree import Tree
from support.pool_builders import write_tree

GIB = 1 << 30


def limits(root: Path, files: dict[str, str]) -> GroupLimits:
    return group_limits(Tree(write_tree(root, files)))


def test_reads_both_kinds_of_groups() -> None:
    groups = parse_groups("12:cpu,cpuacct:/a\n4:memory:/b/c\n1:name=systemd:/e\n0::/d\n")
    assert (str(groups.unified), str(groups.memory), str(groups.cpu)) == ("/d", "/b/c", "/a")
    nothing = parse_groups("")
    assert (nothing.unified, nothing.memory, nothing.cpu) == (None, None, None)


def test_a_bare_host_has_no_limits(tmp_path: Path) -> None:
    assert limits(tmp_path, {}) == GroupLimits(None, None, None)
    assert limits(tmp_path, {"proc/self/cgroup": "garbage\n:\n0::\n"}) == GroupLimits()


def test_the_tightest_level_counts_for_each_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box/inner\n",
        "sys/fs/cgroup/box/inner/memory.max": f"{8 * GIB}\n",
        "sys/fs/cgroup/box/inner/memory.current": "0\n",
        "sys/fs/cgroup/box/inner/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/box/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/box/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/box/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
    }
    assert limits(tmp_path, files) == GroupLimits(2, 4 * GIB, GIB)


def test_idle_file_pages_count_as_free_but_never_beyond_the_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box\n",
        "sys/fs/cgroup/box/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/box/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/box/memory.stat": f"anon 5\ninactive_file {GIB}\nbroken\n",
    }
    assert limits(tmp_path, files).memory_left_bytes == 2 * GIB
    files["sys/fs/cgroup/box/memory.stat"] = f"inactive_file {9 * GIB}\n"
    assert limits(tmp_path, files).memory_left_bytes == 4 * GIB


def test_the_first_version_limits_memory_and_processors_its_own_way(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "250000\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert limits(tmp_path, files) == GroupLimits(3, 2 * GIB, GIB)


def test_a_quota_without_a_period_is_no_quota(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}
    assert limits(tmp_path, files).cpus is None
