"""The acts on a worker's process: start it, know it again after a restart, end it.

Nothing is ever signalled that is not proven to be ours: the same process by pid, start time and
boot, and carrying the worker's own mark in its environment.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from orchestrator_core.errors import Code, HostError
from orchestrator_core.platforms import detached
from orchestrator_core.platforms.port import Platform, ProcessIdentity
from pool_core.workers.argv import Launch, worker_argv
from pool_core.workers.charge import Charge
from pool_core.workers.classify import Failure
from pool_core.workers.environment import is_marked, worker_environment
from pool_core.workers.ledger import Ledger
from pool_core.workers.log_cutting import mark_start

__all__ = [
    "Host",
    "end_process",
    "find_marked",
    "is_our_worker",
    "kill_after",
    "launch",
    "owns",
    "watch",
]

_KILL_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Host:
    """What every act needs of this host."""

    platform: Platform
    ledger: Ledger
    program: Path
    instance: str
    env: Mapping[str, str]


async def launch(host: Host, charge: Charge) -> None:
    """Record the intent, start the process, record who it is; a failure stays in the charge."""
    try:
        await asyncio.to_thread(_start, host, charge)
        watch(host, charge)
    except (OSError, ValueError, HostError) as error:
        if charge.process is not None:
            # A process that nobody can watch is not left running.
            await asyncio.to_thread(detached.end, charge.process)
        charge.failure = Failure(Code.WORKER_START_FAILED, _why(host, error))
        charge.process_ended()
    charge.launched.set()


def _start(host: Host, charge: Charge) -> None:
    record, ledger = charge.record, host.ledger
    if charge.model_path is None:
        raise AssertionError("a worker is planned before it is started")
    ledger.write_key(record.id, charge.key)
    log_path = ledger.log_path(record.id)
    mark_start(
        log_path,
        worker_name=record.name,
        incarnation=record.incarnation,
        at=record.started_at,
    )
    charge.update(log_offset=ledger.log_size(record.id))
    ledger.write(charge.record)
    launch_facts = Launch(
        program=host.program,
        model_path=charge.model_path,
        key_path=ledger.key_path(record.id),
        port=record.port,
        threads=charge.threads,
    )
    argv = worker_argv(record.spec, launch_facts)
    env = worker_environment(host.env, instance=host.instance, worker_id=record.id)
    charge.process = detached.start(argv, log_path=log_path, env=env, cwd=ledger.logs_folder)
    detached.offer_first(charge.process)
    identity = host.platform.identify(charge.process.pid)
    charge.identity = identity
    if identity is not None:
        charge.update(pid=identity.pid, start_time=identity.start_time, boot_id=identity.boot_id)
        # The intent is on the disk, and the marks of the process lead whoever reads it to it.
        with contextlib.suppress(OSError):
            ledger.write(charge.record)


def _why(host: Host, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or host.program}: {error.strerror}"
    return str(error)


def watch(host: Host, charge: Charge) -> None:
    """Hear of the process's end; one that ended before it had a name has ended now."""
    if charge.identity is None:
        if charge.process is not None:
            charge.exit_code = charge.process.wait()
        charge.exited.set()
    else:
        ended = partial(_ended, host, charge, charge.identity)
        charge.watch = host.platform.watch_exit(charge.identity, ended)


def _ended(host: Host, charge: Charge, identity: ProcessIdentity) -> None:
    # What the worker has started must not outlive it and keep its memory. As long as the leader is
    # not reaped its session cannot be taken for another.
    _signal(host.platform.signal_session, identity, signal.SIGKILL)
    charge.process_ended()


def _signal(act: Callable[[ProcessIdentity, int], bool], to: ProcessIdentity, signum: int) -> None:
    """Signal if the host lets us; whoever waits for the end sees what has come of it."""
    with contextlib.suppress(OSError, HostError):
        act(to, signum)


def owns(host: Host, charge: Charge) -> bool:
    """Tell whether the listener on the worker's port belongs to the worker's session."""
    try:
        holder = host.platform.port_holder(charge.record.port, likely=charge.record.pid)
        if holder is None or holder.pid is None or charge.identity is None:
            return False
        return host.platform.session_of(holder.pid) == charge.identity.pid
    except (OSError, HostError):
        # Not proven now; whoever asks asks again.
        return False


def is_our_worker(
    platform: Platform, identity: ProcessIdentity, instance: str, worker_id: str
) -> bool:
    """Prove that a live process is the one that we started as this worker."""
    if not platform.is_alive(identity) or platform.session_of(identity.pid) != identity.pid:
        return False
    marked = is_marked(platform.environment(identity.pid), instance, worker_id)
    return marked and platform.is_alive(identity)


def find_marked(platform: Platform, instance: str, worker_id: str) -> ProcessIdentity | None:
    """Find the process of an intent that never learnt its pid."""
    for pid in psutil.pids():
        if platform.session_of(pid) == pid and is_marked(
            platform.environment(pid), instance, worker_id
        ):
            return platform.identify(pid)
    return None


async def end_process(host: Host, charge: Charge, *, grace_s: float) -> bool:
    """TERM, the grace, then KILL for the whole session; True when the process is gone."""
    identity = charge.identity
    if identity is None or charge.exited.is_set():
        return True
    _signal(host.platform.signal_if_same, identity, signal.SIGTERM)
    # A stopped process hears TERM only when it goes on.
    _signal(host.platform.signal_if_same, identity, signal.SIGCONT)
    return await kill_after(host, charge, grace_s=grace_s)


async def kill_after(host: Host, charge: Charge, *, grace_s: float) -> bool:
    """Wait for the end as long as the grace lasts, then KILL; True when the process is gone."""
    if charge.identity is None or await _ends_within(charge, grace_s):
        return True
    _signal(host.platform.signal_session, charge.identity, signal.SIGKILL)
    return await _ends_within(charge, _KILL_WAIT_S)


async def _ends_within(charge: Charge, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(charge.exited.wait(), timeout_s)
    return charge.exited.is_set()
