"""What the doctor says about a host: each fault by name and with its fix, health without noise."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_core.contracts.control import RunFile
from orchestrator_core.findings import Finding, Severity, has_errors
from orchestrator_core.platforms.port import PortHolder
from orchestrator_core.units import GIB, MIB
from pool_core.doctor.facts import (
    ClosedNode,
    DaemonFacts,
    DeviceFacts,
    Folder,
    HostFacts,
    KernelFacts,
    ServiceFacts,
    SoftwareFacts,
    StorageFacts,
)
from pool_core.doctor.findings import judge
from support.pool_builders import cpu, gpu

RUN = RunFile(
    daemon="pool-managerd",
    url="http://127.0.0.1:9200",
    pid=77,
    start_time=1,
    boot_id="b",
    version="1.2.3",
    instance="i",
)
SOFTWARE = SoftwareFacts(
    python=(3, 12, 15),
    system="Linux",
    machine="x86_64",
    engine_build="b11549",
    worker_program=Path("/opt/llorch-worker"),
    worker_is_runnable=True,
)
FOLDER = Folder(
    name="pool",
    path=Path("/srv/me/state/pool"),
    exists=True,
    is_writable=True,
    mode=0o700,
    free_bytes=100 * GIB,
    free_files=1_000_000,
    filesystem="ext4",
    holds_secrets=True,
)
KERNEL = KernelFacts(
    has_pidfd=True,
    overcommit=0,
    open_files_max=1024,
    outgoing_ports=(32768, 60999),
    worker_ports=(8001, 8999),
    memory_bytes=8 * GIB,
    smallest_model_bytes=MIB,
)
PROCESSOR = cpu(features=("avx2", "f16c", "fma"))
HEALTHY = HostFacts(
    software=SOFTWARE,
    storage=StorageFacts(folders=(FOLDER,)),
    devices=DeviceFacts(devices=(PROCESSOR,), user="me"),
    kernel=KERNEL,
    daemon=DaemonFacts(
        version="1.2.3",
        bind="127.0.0.1:9200",
        run=RUN,
        lock_pid=77,
        answers=True,
        port=9200,
        holder=PortHolder(9200, 77, "pool-managerd"),
    ),
    service=ServiceFacts(manager="systemd", installed="system", lingers=False, user="me"),
)


def faults(facts: HostFacts) -> list[Finding]:
    return [finding for finding in judge(facts) if finding.severity is not Severity.OK]


def only_fault(facts: HostFacts) -> Finding:
    (found,) = faults(facts)
    return found


def with_software(**changes: object) -> HostFacts:
    return replace(HEALTHY, software=replace(SOFTWARE, **changes))


def with_folder(**changes: object) -> HostFacts:
    return replace(HEALTHY, storage=StorageFacts(folders=(replace(FOLDER, **changes),)))


def with_devices(**changes: object) -> HostFacts:
    return replace(HEALTHY, devices=replace(HEALTHY.devices, **changes))


def with_kernel(**changes: object) -> HostFacts:
    return replace(HEALTHY, kernel=replace(KERNEL, **changes))


def with_daemon(**changes: object) -> HostFacts:
    return replace(HEALTHY, daemon=replace(HEALTHY.daemon, **changes))


def test_a_healthy_host_has_a_line_for_each_subject_and_no_fix() -> None:
    found = judge(HEALTHY)
    assert {finding.severity for finding in found} == {Severity.OK}
    assert {finding.fix for finding in found} == {None}
    assert [finding.subject for finding in found] == [
        "python",
        "engine",
        "worker program",
        "pool folder",
        "device cpu",
        "daemon",
        "service",
    ]
    assert not has_errors(found)


CASES: list[tuple[HostFacts, Severity, str, str, str]] = [
    (with_software(python=(3, 11, 7)), Severity.NOTE, "python", "3.11.17", "update"),
    (with_software(engine_build=None), Severity.ERROR, "engine", "not installed", "pip install"),
    (
        with_software(missing_library="libgomp.so.1"),
        Severity.ERROR,
        "engine library",
        "libgomp.so.1",
        "apt install libgomp1",
    ),
    (
        with_software(worker_program=None),
        Severity.ERROR,
        "worker program",
        "nor on PATH",
        "worker_program",
    ),
    (
        with_software(worker_is_runnable=False),
        Severity.ERROR,
        "worker program",
        "may run",
        "worker_program",
    ),
    (
        with_devices(devices=(cpu(features=("avx2",)),)),
        Severity.ERROR,
        "cpu",
        "no fma, f16c",
        "virtual machine",
    ),
    (with_folder(is_writable=False), Severity.ERROR, "pool folder", "cannot be written", "chown"),
    (
        with_folder(obstacle=Path("/srv/me/state"), is_writable=False),
        Severity.ERROR,
        "pool folder",
        "/srv/me/state is in the way",
        "mv /srv/me/state /srv/me/state.old",
    ),
    (with_folder(mode=0o755), Severity.WARNING, "pool folder", "mode 755", "chmod 700"),
    (with_folder(free_bytes=MIB), Severity.ERROR, "pool folder", "1 MiB are free", "free some"),
    (with_folder(free_bytes=500 * MIB), Severity.WARNING, "pool folder", "500 MiB", "free some"),
    (
        with_folder(name="models", free_bytes=2 * GIB),
        Severity.WARNING,
        "models folder",
        "2 GiB",
        "larger disk",
    ),
    (with_folder(free_files=7), Severity.ERROR, "pool folder", "7 more files", "remove"),
    (with_folder(free_files=700), Severity.WARNING, "pool folder", "700 more files", "remove"),
    (with_folder(filesystem="nfs4"), Severity.WARNING, "pool folder", "nfs4: locks", "local disk"),
    (
        with_folder(name="models", filesystem="virtiofs"),
        Severity.NOTE,
        "models folder",
        "slowly",
        "XDG_DATA_HOME",
    ),
    (
        with_devices(faults={"nvidia": "NVML does not answer"}),
        Severity.WARNING,
        "driver nvidia",
        "NVML does not answer",
        "dmesg",
    ),
    (
        with_devices(
            devices=(PROCESSOR, gpu(0).model_copy(update={"fault": "lost", "stale": True})),
            faults={"nvidia": "lost"},
        ),
        Severity.WARNING,
        "device GPU-0",
        "as last seen): lost",
        "driver",
    ),
    (with_devices(devices=()), Severity.ERROR, "devices", "not even a processor", "/proc"),
    (
        with_devices(closed_nodes=(ClosedNode(Path("/dev/kfd"), "render"),)),
        Severity.WARNING,
        "device files",
        "/dev/kfd",
        "usermod -aG render me",
    ),
    (with_kernel(has_pidfd=False), Severity.ERROR, "kernel", "no pidfd", "5.3"),
    (with_kernel(overcommit=2), Severity.WARNING, "overcommit", "refused", "sysctl"),
    (with_kernel(open_files_max=64), Severity.WARNING, "open files", "64 files", "ulimit"),
    (
        with_kernel(outgoing_ports=(1024, 8100)),
        Severity.WARNING,
        "worker ports",
        "8001-8100",
        "ip_local_reserved_ports=8001-8100",
    ),
    (with_kernel(memory_bytes=96 * MIB), Severity.ERROR, "memory", "96 MiB", "machine"),
    (
        with_kernel(memory_limit_bytes=64 * MIB),
        Severity.ERROR,
        "memory",
        "64 MiB",
        "control group",
    ),
    (
        with_kernel(memory_limit_bytes=2 * GIB),
        Severity.NOTE,
        "memory limit",
        "2 GiB of 8 GiB",
        "raise it",
    ),
    (with_kernel(cpu_limit=2), Severity.NOTE, "cpu limit", "2 CPUs", "raise it"),
    (
        with_daemon(settings_fault="pool.toml: unknown key"),
        Severity.ERROR,
        "settings",
        "unknown key",
        "pool.toml",
    ),
    (
        with_daemon(catalog_fault="catalogue /c/catalog.toml: Invalid value"),
        Severity.ERROR,
        "catalogue",
        "Invalid value",
        "catalog.toml",
    ),
    (
        with_daemon(run=None, lock_pid=None, holder=None),
        Severity.NOTE,
        "daemon",
        "not running",
        "llorch-pool daemon start",
    ),
    (with_daemon(run=None), Severity.WARNING, "daemon", "process 77 holds", "daemon stop"),
    (with_daemon(answers=False), Severity.ERROR, "daemon", "does not answer", "daemon stop"),
    (with_daemon(version="2.0.0"), Severity.WARNING, "version", "1.2.3, this", "daemon start"),
    (
        with_daemon(holder=PortHolder(9200, 5, "elastic")),
        Severity.NOTE,
        "port",
        "process 5 (elastic)",
        "--bind",
    ),
    (with_daemon(is_draining=True), Severity.NOTE, "draining", "draining", "daemon resume"),
    (
        replace(HEALTHY, service=ServiceFacts(manager="systemd", lingers=True, user="me")),
        Severity.NOTE,
        "service",
        "no service",
        "install-service",
    ),
    (
        replace(
            HEALTHY,
            service=ServiceFacts(manager="systemd", installed="user", lingers=False, user="me"),
        ),
        Severity.WARNING,
        "service",
        "last logout",
        "loginctl enable-linger me",
    ),
    (
        replace(HEALTHY, storage=None, unread={"storage": "no answer in 10 s"}),
        Severity.WARNING,
        "storage",
        "no answer in 10 s",
        "dead mount",
    ),
]


@pytest.mark.parametrize(
    ("facts", "severity", "subject", "text", "fix"),
    CASES,
    ids=[f"{case[1].value} {case[2]} {number}" for number, case in enumerate(CASES)],
)
def test_one_fault_is_one_finding(
    facts: HostFacts, severity: Severity, subject: str, text: str, fix: str
) -> None:
    found = only_fault(facts)
    assert (found.severity, found.subject) == (severity, subject)
    assert text in found.text
    assert found.fix is not None
    assert fix in found.fix
    assert has_errors([found]) is (severity is Severity.ERROR)


def test_files_that_somebody_should_see_are_named_with_what_to_type() -> None:
    folder = Path("/s/pool")
    storage = StorageFacts(
        open_secrets=(folder / "pool.key",),
        set_aside=tuple(folder / f"{number}.foreign" for number in range(5)),
        crash_logs=(Path("/s/log/llorch-pool-crash.log"),),
    )
    keys, records, crash = faults(replace(HEALTHY, storage=storage))
    assert (keys.severity, keys.fix) == (Severity.ERROR, "chmod 600 /s/pool/pool.key")
    assert "0.foreign, 1.foreign, 2.foreign and 2 more" in records.text
    assert records.severity is Severity.WARNING
    assert crash.severity is Severity.NOTE
    assert "/s/log/llorch-pool-crash.log" in crash.text


def test_a_taken_port_is_an_error_only_while_the_daemon_needs_it() -> None:
    facts = with_daemon(run=None, lock_pid=None, holder=PortHolder(9200, uid=0, user="root"))
    severities = {finding.subject: finding.severity for finding in faults(facts)}
    assert severities == {"port": Severity.ERROR, "daemon": Severity.NOTE}


def test_the_worst_comes_first() -> None:
    facts = replace(with_kernel(has_pidfd=False, overcommit=2, cpu_limit=2))
    found = [finding.severity for finding in judge(facts)]
    assert found[:3] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    assert set(found[3:]) == {Severity.OK}


@pytest.mark.parametrize("reserved", ["8001-8999", "22,8000-9000", "8001-8100"])
def test_ports_that_the_kernel_spares_are_no_fault(reserved: str) -> None:
    assert faults(with_kernel(outgoing_ports=(1024, 8100), reserved_ports=reserved)) == []


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_what_only_x86_needs_is_not_asked_of_others(machine: str) -> None:
    facts = with_devices(devices=(cpu(features=("asimddp",)),))
    assert faults(replace(facts, software=replace(SOFTWARE, machine=machine))) == []


def test_a_host_of_which_nothing_is_known_is_no_crash() -> None:
    assert judge(HostFacts()) == []
    empty = KernelFacts(worker_ports=(8001, 8999))
    assert faults(replace(HEALTHY, kernel=empty)) == []


def test_without_a_service_manager_nothing_is_said_of_services() -> None:
    assert faults(replace(HEALTHY, service=ServiceFacts())) == []
