"""Reading a host: this one, and trees in which everything is missing, odd or hanging."""

import os
import socket
import threading
from pathlib import Path, PurePosixPath

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import runfiles, select
from orchestrator_core.platforms.files import FileLock
from pool_core.doctor import daemon_reading, examination, host_reading
from pool_core.doctor.examination import Patient, examine
from pool_core.doctor.findings import judge
from pool_core.doctor.mounts import Mount, mount_of, parse_mounts
from support.pool_builders import write_tree

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /net rw - nfs4 server:/net rw
31 22 0:26 / /net/me/with\040space rw master:1 - fuse.sshfs host: rw
32 22 0:27 / /tmp rw - tmpfs tmpfs rw
33 22 0:28 / /tmp rw - 9p hostshare rw
nonsense
34 22 - ext4
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "LLORCH_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
        "LLORCH_POOL_BIND": "127.0.0.1:0",
    }


@pytest.fixture
def layout(env: dict[str, str]) -> Layout:
    return Layout.from_env(env)


def patient(layout: Layout, env: dict[str, str], root: Path = Path("/")) -> Patient:
    return Patient(layout=layout, platform=select.current(), env=env, version="1.2.3", root=root)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/net", "nfs4"),
        ("/net/me/state", "nfs4"),
        ("/network", "ext4"),
        ("/net/me/with space/pool", "fuse.sshfs"),
        ("/tmp/x", "9p"),
    ],
)
def test_a_path_lies_on_the_longest_mount_above_it(path: str, kind: str) -> None:
    found = mount_of(PurePosixPath(path), parse_mounts(MOUNTS))
    assert found is not None
    assert found.kind == kind


def test_without_mounts_nothing_is_known() -> None:
    assert mount_of(PurePosixPath("/net"), []) is None
    assert mount_of(PurePosixPath("/a"), [Mount(PurePosixPath("/b"), "ext4")]) is None


def test_this_host_is_read_whole_and_nothing_is_written(
    layout: Layout, env: dict[str, str], tmp_path: Path
) -> None:
    facts = examine(patient(layout, env))
    assert facts.unread == {}
    assert facts.software is not None
    assert facts.software.worker_is_runnable
    assert facts.kernel is not None
    assert facts.kernel.has_pidfd
    assert facts.devices is not None
    assert [device.kind for device in facts.devices.devices][-1] == "cpu"
    assert facts.storage is not None
    assert [folder.exists for folder in facts.storage.folders] == [False] * 4
    assert all(folder.is_writable and folder.free_bytes for folder in facts.storage.folders)
    assert list(tmp_path.iterdir()) == []
    assert judge(facts)


def test_a_host_that_tells_nothing_is_read_without_a_crash(
    layout: Layout, env: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    facts = examine(patient(layout, env, root))
    assert facts.unread == {}
    assert facts.kernel is not None
    assert facts.kernel.outgoing_ports is None
    assert facts.service is not None
    assert facts.service.manager is None
    assert judge(facts)


def test_the_kernels_limits_are_read(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n",
        "proc/sys/vm/overcommit_memory": "2\n",
        "proc/sys/net/ipv4/ip_local_port_range": "1024\t65535\n",
        "proc/sys/net/ipv4/ip_local_reserved_ports": "8001-8999\n",
        "proc/self/cgroup": "0::/box\n",
        "sys/fs/cgroup/box/memory.max": "1073741824\n",
        "sys/fs/cgroup/box/memory.current": "0\n",
        "sys/fs/cgroup/box/cpu.max": "150000 100000\n",
    }
    found = host_reading.kernel(write_tree(tmp_path, files))
    assert (found.memory_bytes, found.memory_limit_bytes) == (4 << 30, 1 << 30)
    assert (found.overcommit, found.outgoing_ports) == (2, (1024, 65535))
    assert found.reserved_ports == "8001-8999"
    assert found.cpu_limit == 2
    assert found.smallest_model_bytes > 0


def test_left_over_files_open_keys_and_crashes_are_found(layout: Layout) -> None:
    records = layout.worker_records
    files = {
        "wrk_a.json": 0o600,
        "wrk_b.foreign": 0o600,
        "wrk_c.unreadable": 0o600,
        "wrk_a.key": 0o644,
        "../pool.key": 0o600,
    }
    records.mkdir(parents=True)
    for name, mode in files.items():
        (records / name).write_text("x")
        (records / name).chmod(mode)
    layout.log_folder.mkdir(parents=True)
    (layout.log_folder / "llorch-pool-crash.log").write_text("Traceback")
    (layout.log_folder / "llorch-crash.log").write_text("")
    found = host_reading.storage(layout, Path("/"))
    assert [path.name for path in found.set_aside] == ["wrk_b.foreign", "wrk_c.unreadable"]
    assert [path.name for path in found.open_secrets] == ["wrk_a.key"]
    assert [path.name for path in found.crash_logs] == ["llorch-pool-crash.log"]
    assert next(folder.mode for folder in found.folders if folder.name == "pool") is not None


def test_links_that_lead_nowhere_cost_no_other_finding(layout: Layout) -> None:
    layout.worker_records.mkdir(parents=True)
    layout.log_folder.mkdir(parents=True)
    (layout.worker_records / "wrk_a.key").symlink_to("/nonexistent")
    (layout.log_folder / "llorch-pool-crash.log").symlink_to("/nonexistent")
    found = host_reading.storage(layout, Path("/"))
    assert (found.open_secrets, found.crash_logs) == ((), ())
    assert len(found.folders) == 4


def test_the_folder_of_the_models_is_the_configured_one(
    layout: Layout, env: dict[str, str], tmp_path: Path
) -> None:
    def looked_at() -> Path:
        folder = host_reading.models_folder(layout, env)
        found = host_reading.storage(layout, Path("/"), folder)
        return next(folder.path for folder in found.folders if folder.name == "models")

    assert looked_at() == layout.models_folder
    env["LLORCH_POOL_MODELS_FOLDER"] = str(tmp_path / "large")
    assert looked_at() == tmp_path / "large"


def test_a_broken_catalogue_is_found_before_a_daemon_trips_over_it(
    layout: Layout, env: dict[str, str]
) -> None:
    platform = select.current()
    assert daemon_reading.daemon(layout, platform, env, "1").catalog_fault is None
    layout.config.mkdir(parents=True)
    layout.user_catalog.write_text("x = [")
    fault = daemon_reading.daemon(layout, platform, env, "1").catalog_fault
    assert fault is not None
    assert str(layout.user_catalog) in fault


@pytest.mark.parametrize("what", ["file", "link to nowhere", "link to itself"])
def test_what_lies_where_a_folder_belongs_is_named(
    layout: Layout, env: dict[str, str], what: str
) -> None:
    layout.state.parent.mkdir(parents=True)
    match what:
        case "file":
            layout.state.write_text("x")
        case "link to itself":
            layout.state.symlink_to(layout.state)
        case _:
            layout.state.symlink_to("/nonexistent")
    facts = examine(patient(layout, env))
    assert facts.storage is not None
    obstacles = {folder.name: folder.obstacle for folder in facts.storage.folders}
    assert obstacles == {"state": layout.state, "pool": layout.state, "models": None, "cache": None}
    assert what == "link to itself" or facts.unread == {}


def test_device_files_that_others_may_open_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path, {"dev/kfd": "", "dev/dri/renderD128": "", "dev/dri/card0": ""})
    # A superuser may open everything, whatever the mode says.
    monkeypatch.setattr(os, "access", lambda path, _mode: "renderD" not in str(path))
    found = host_reading.devices(root)
    assert [node.path.name for node in found.closed_nodes] == ["renderD128"]
    assert found.closed_nodes[0].group


def write_run_file(layout: Layout, port: int) -> None:
    me = select.current().identify(os.getpid())
    assert me is not None
    run = RunFile(
        daemon="pool-managerd",
        url=f"http://127.0.0.1:{port}",
        pid=me.pid,
        start_time=me.start_time,
        boot_id=me.boot_id,
        version="1.0.0",
        instance="i",
    )
    runfiles.write(layout.run_folder, run)


def test_a_daemon_that_holds_the_pool_and_does_not_answer_is_seen(
    layout: Layout, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_reading, "_ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = int(deaf.getsockname()[1])
        env["LLORCH_POOL_BIND"] = f"127.0.0.1:{port}"
        layout.pool_folder.mkdir(parents=True)
        (layout.pool_folder / "drain.json").write_text("{}")
        lock = FileLock(layout.pool_lock)
        assert lock.try_acquire()
        write_run_file(layout, port)
        found = daemon_reading.daemon(layout, select.current(), env, "1.2.3")
        lock.release()
    assert found.run is not None
    assert (found.answers, found.lock_pid, found.port) == (False, os.getpid(), port)
    assert found.holder is not None
    assert found.holder.pid == os.getpid()
    assert found.is_draining


def test_no_daemon_is_no_fault_and_bad_settings_are(layout: Layout, env: dict[str, str]) -> None:
    found = daemon_reading.daemon(layout, select.current(), env, "1.2.3")
    assert (found.run, found.lock_pid, found.answers, found.port) == (None, None, None, None)
    assert found.settings_fault is None
    env["LLORCH_POOL_BIND"] = "nowhere"
    assert daemon_reading.daemon(layout, select.current(), env, "1").settings_fault is not None
    layout.config.mkdir(parents=True)
    layout.config_file("pool").write_text("bind = [1\n")
    found = daemon_reading.daemon(layout, select.current(), env, "1")
    assert found.settings_fault is not None
    assert found.bind == "127.0.0.1:9200"


@pytest.mark.parametrize(
    ("place", "installed"),
    [
        ("etc/systemd/system/pool-managerd.service", "system"),
        ("srv/me/.config/systemd/user/pool-managerd.service", "user"),
        ("etc/motd", None),
    ],
)
def test_an_installed_service_is_found(tmp_path: Path, place: str, installed: str | None) -> None:
    linger = f"var/lib/systemd/linger/{daemon_reading.user_name()}"
    root = write_tree(tmp_path, {place: "x", linger: "", "run/systemd/system/x": ""})
    found = daemon_reading.service({"HOME": "/srv/me"}, root)
    assert (found.manager, found.installed, found.lingers) == ("systemd", installed, True)


def test_a_part_that_hangs_or_breaks_costs_no_other(
    layout: Layout, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_args: object) -> None:
        released.wait(60)

    def break_down(*_args: object) -> None:
        raise OSError("the mount is dead")

    monkeypatch.setattr(examination.host_reading, "storage", hang)
    monkeypatch.setattr(examination.host_reading, "software", break_down)
    facts = examine(patient(layout, env), timeout_s=1.0)
    released.set()
    assert facts.unread == {
        "storage": "no answer in 1 s",
        "software": "OSError: the mount is dead",
    }
    assert facts.kernel is not None
    assert facts.daemon is not None
