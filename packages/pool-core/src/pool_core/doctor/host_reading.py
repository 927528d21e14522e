"""Reads software, folders, devices and limits of this host; each function is one part."""

import contextlib
import ctypes
import grp
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import LlorchError, Refusal
from pool_core.catalog.builtin import BuiltinModels
from pool_core.devices.cgroups import group_limits
from pool_core.devices.host_memory import parse_meminfo
from pool_core.devices.inventory import open_inventory
from pool_core.devices.tree import Tree
from pool_core.doctor.daemon_reading import user_name
from pool_core.doctor.facts import (
    ClosedNode,
    DeviceFacts,
    Folder,
    KernelFacts,
    SoftwareFacts,
    StorageFacts,
)
from pool_core.doctor.mounts import mount_of, parse_mounts
from pool_core.workers import ports
from pool_core.workers.engine_facts import read_engine_facts
from pool_core.workers.host_settings import read_settings
from pool_core.workers.installation import find_worker_program

__all__ = ["devices", "folder", "kernel", "models_folder", "software", "storage"]

_OPENMP: Final = "libgomp.so.1"
_ASIDE: Final = (".foreign", ".unreadable")
_SECRETS: Final = ("pool.key", "workers/*.key")
_NODES: Final = ("dev/kfd", "dev/dri/renderD*")


def software(layout: Layout, env: Mapping[str, str]) -> SoftwareFacts:
    """Interpreter, engine and worker program."""
    try:
        configured = read_settings(layout, env).worker_program
    except LlorchError:
        configured = None
    program = find_worker_program(configured)
    found = None if isinstance(program, Refusal) else program
    engine = read_engine_facts()
    return SoftwareFacts(
        python=sys.version_info[:3],
        system=platform.system(),
        machine=platform.machine(),
        engine_build=engine.build if engine else None,
        missing_library=_missing_library() if platform.system() == "Linux" else None,
        worker_program=found,
        worker_is_runnable=found is not None and shutil.which(str(found)) is not None,
    )


def models_folder(layout: Layout, env: Mapping[str, str]) -> Path | None:
    """The folder of the models that is configured; None where no setting names one."""
    try:
        return read_settings(layout, env).models_folder
    except LlorchError:
        # What is wrong with the settings is told of the daemon.
        return None


def storage(layout: Layout, root: Path, models: Path | None = None) -> StorageFacts:
    """The folders that must hold, and what lies in them that a person should see."""
    mounts = Tree(root).text("proc/self/mountinfo")
    records = layout.worker_records
    return StorageFacts(
        folders=(
            folder("state", layout.state, mounts),
            folder("pool", layout.pool_folder, mounts, holds_secrets=True),
            folder("models", models or layout.models_folder, mounts),
            folder("cache", layout.cache, mounts),
        ),
        open_secrets=tuple(path for path in _secrets(layout) if (_mode(path) or 0) & 0o077),
        set_aside=tuple(sorted(path for path in _files(records) if path.suffix in _ASIDE)),
        crash_logs=tuple(
            path for path in sorted(layout.log_folder.glob("*-crash.log")) if _size_bytes(path)
        ),
    )


def folder(name: str, path: Path, mounts: str, *, holds_secrets: bool = False) -> Folder:
    """One folder; where it does not exist yet, the one above it that does is looked at."""
    exists = path.is_dir()
    above = (path, *path.parents)
    nearest = next(each for each in above if os.path.lexists(each))
    real = next(each for each in above if each.is_dir()).resolve()
    space = os.statvfs(real)
    mount = mount_of(PurePosixPath(real), parse_mounts(mounts))
    return Folder(
        name=name,
        path=path,
        exists=exists,
        obstacle=None if nearest.is_dir() else nearest,
        is_writable=os.access(real, os.W_OK | os.X_OK),
        mode=_mode(path),
        free_bytes=space.f_bavail * space.f_frsize,
        free_files=space.f_favail if space.f_files else None,
        filesystem=mount.kind if mount else None,
        holds_secrets=holds_secrets,
    )


def devices(root: Path) -> DeviceFacts:
    """One look at everything that computes, and the device files that are closed to us."""
    with contextlib.closing(open_inventory(root)) as inventory:
        found = inventory.look()
        faults = inventory.faults()
    nodes = tuple(
        ClosedNode(path, _group_of(path))
        for pattern in _NODES
        for path in sorted(root.glob(pattern))
        if not os.access(path, os.R_OK | os.W_OK)
    )
    return DeviceFacts(devices=tuple(found), faults=faults, closed_nodes=nodes, user=user_name())


def kernel(root: Path) -> KernelFacts:
    """What the kernel allows."""
    tree = Tree(root)
    limits = group_limits(tree)
    total, _ = parse_meminfo(tree.text("proc/meminfo"))
    outgoing = tree.text("proc/sys/net/ipv4/ip_local_port_range").split()
    both = len(outgoing) == 2 and all(number.isdecimal() for number in outgoing)
    return KernelFacts(
        has_pidfd=_has_pidfd(),
        overcommit=tree.number("proc/sys/vm/overcommit_memory"),
        open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        outgoing_ports=(int(outgoing[0]), int(outgoing[1])) if both else None,
        reserved_ports=tree.text("proc/sys/net/ipv4/ip_local_reserved_ports"),
        worker_ports=(ports.FIRST, ports.LAST),
        memory_bytes=total or None,
        memory_limit_bytes=limits.memory_bytes,
        cpu_limit=limits.cpus,
        smallest_model_bytes=min(
            (model.size_bytes for model in BuiltinModels().reports()), default=0
        ),
    )


def _missing_library() -> str | None:
    try:
        ctypes.CDLL(_OPENMP)
    except OSError:
        return _OPENMP
    return None


def _has_pidfd() -> bool | None:
    if platform.system() != "Linux":
        return None
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _secrets(layout: Layout) -> Iterator[Path]:
    for pattern in _SECRETS:
        yield from sorted(layout.pool_folder.glob(pattern))


def _files(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _mode(path: Path) -> int | None:
    found = _look_at(path)
    return found.st_mode & 0o777 if found else None


def _size_bytes(path: Path) -> int:
    found = _look_at(path)
    return found.st_size if found else 0


def _look_at(path: Path) -> os.stat_result | None:
    # A worker that ends meanwhile takes its files away, and a link may lead nowhere.
    try:
        return path.stat()
    except OSError:
        return None


def _group_of(path: Path) -> str:
    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
