"""Prints what the side of the host costs: starts, ends, taking over, an idle daemon, commands.

    ./dev bench pool_host

It drives the real daemon, the real commands and workers of the smallest model on one thread, in a
home of its own, and takes about two minutes. Medians are printed with the smallest and the largest
value; what is waited for is asked for every 10 ms. Nothing here asserts: machines differ.
"""

import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from pathlib import Path

import psutil
from pydantic import SecretStr

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.contracts.pool import Heartbeat, SpawnRequest, WorkerReport, WorkerStatus
from orchestrator_core.idgen import IdSource
from pool_core.devices.inventory import open_inventory
from pool_core.workers.charge import draw_key
from pool_core.workers.vital_signs import read_counters, read_signs, resident_bytes
from support.home import Home
from support.supervision import tiny_spec
from support.waiting import until_sync
from support.worker_process import run_worker

ROUNDS = 5
MANY = 20
IDLE_S = 10.0
LOOKS = 100
READY_S = 120.0
PROGRAMS = Path(sys.executable).parent


class Daemon:
    """The pool-managerd of one home: started, asked, killed."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._client: PoolClient | None = None

    @property
    def ask(self) -> PoolClient:
        """The way to its API."""
        assert self._client is not None
        return self._client

    @property
    def process(self) -> psutil.Process:
        """Its process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self, workers: int = 0) -> float:
        """Seconds from its start until it answers and all its workers are ready."""
        began = time.perf_counter()
        with (self._home.folder / "daemon.out").open("ab") as out:
            self._process = subprocess.Popen(
                [str(PROGRAMS / "pool-managerd")],
                env=self._home.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        until_sync(self._has_announced, timeout_s=READY_S, what="the daemon to answer")
        key = (self._home.state / "pool" / "pool.key").read_text("utf-8").strip()
        self._client = PoolClient(self._home.pool_url, key)
        self.wait_until_ready(workers)
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._client is not None:
            self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._client = self._process = None

    def spawn(self) -> str:
        """Order one worker."""
        return self.ask.spawn(SpawnRequest(spec=tiny_spec())).id

    def reports(self) -> list[WorkerReport]:
        """What it says of its workers."""
        return self.ask.workers().items

    def wait_until_ready(self, workers: int) -> None:
        """Wait until this many workers, and no others, are ready."""

        def are_ready() -> bool:
            seen = self.reports()
            return len(seen) == workers and all(it.status is WorkerStatus.READY for it in seen)

        until_sync(are_ready, timeout_s=READY_S, what=f"{workers} ready workers")

    def _has_announced(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the daemon has ended"
        with contextlib.suppress(FileNotFoundError):
            return self._home.pid("pool-managerd") == self._process.pid
        return False


@contextlib.contextmanager
def own_home() -> Generator[tuple[Home, Daemon]]:
    """A home in a temporary folder; in the end none of its processes is left."""
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name) / "home")
        home.folder.mkdir()
        daemon = Daemon(home)
        try:
            yield home, daemon
        finally:
            daemon.kill()
            home.pool("daemon", "stop", "--workers", timeout_s=READY_S)
            until_sync(lambda: not home.processes(), timeout_s=30, what="the end of every process")


def row(name: str, values: Sequence[float], unit: str, per: float | None = None) -> float:
    """Print one line and return its median."""
    middle = statistics.median(values)
    spread = f"({min(values):,.1f} to {max(values):,.1f})" if len(values) > 1 else ""
    ratio = f"{middle / per:6.1f} x" if per else ""
    print(f"{name:44} {middle:>10,.1f} {unit:<3} {spread:<24} {ratio}", flush=True)
    return middle


def command(name: str, act: Callable[[], object], least: float | None = None) -> float:
    """Print how long a command takes and how much CPU time, and return the median of the first."""
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(ROUNDS):
        before = children_cpu_s()
        wall.append(timed_ms(act))
        cpu.append((children_cpu_s() - before) * 1e3)
    row(f"{name}, its CPU", cpu, "ms")
    return row(name, wall, "ms", least)


def children_cpu_s() -> float:
    """CPU time of all our children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed_ms(act: Callable[[], object]) -> float:
    """How long an act takes."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e3


def python_pass() -> None:
    """The least that any command of ours can cost."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def worker_alone_ms(home: Home) -> float:
    """From the start of a bare worker program until it says that it listens."""
    began = time.perf_counter()
    with run_worker(home.folder, "--ctx-size", "1024", "--parallel", "1"):
        return (time.perf_counter() - began) * 1e3


def direct_starts_ms(home: Home) -> Iterator[float]:
    """Start to ready without a daemon, by the command; each worker is stopped again."""
    words = ("worker", "spawn", "cpu", "--model", "tiny-chat", "--threads", "1")
    left, lost = ROUNDS, list[str]()
    while left:
        began = time.perf_counter()
        started = home.pool(*words)
        passed_ms = (time.perf_counter() - began) * 1e3
        home.pool("worker", "stop", "worker-cpu-0").must()
        if started.code == 0:
            left -= 1
            yield passed_ms
            continue
        # Another installation on this machine may have taken the port in between.
        lost.append(started.err.strip())
        assert len(lost) <= ROUNDS, lost
    if lost:
        print(f"{len(lost)} direct starts failed and were repeated: {lost[-1]}")


def spawn_ms(daemon: Daemon, standing: int) -> float:
    """From an order to the daemon until the worker is ready."""
    began = time.perf_counter()
    daemon.spawn()
    daemon.wait_until_ready(standing + 1)
    return (time.perf_counter() - began) * 1e3


def killing_ms(daemon: Daemon) -> tuple[list[float], list[float]]:
    """From the KILL of each worker until it is seen, and until it is ready again."""
    seen: list[float] = []
    again: list[float] = []
    standing = daemon.reports()
    for worker in standing:
        assert worker.pid is not None
        began = time.perf_counter()
        os.kill(worker.pid, 9)
        until_sync(lambda: any(it.status is not WorkerStatus.READY for it in daemon.reports()))
        seen.append((time.perf_counter() - began) * 1e3)
        daemon.wait_until_ready(len(standing))
        again.append((time.perf_counter() - began) * 1e3)
    return seen, again


def takeover(daemon: Daemon, workers: int) -> None:
    """Print how long a new daemon takes until all workers of the killed one are ready."""
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(ROUNDS):
        daemon.kill()
        wall.append(daemon.start(workers) * 1e3)
        cpu.append(cpu_s(daemon.process) * 1e3)
    row(f"daemon, start to {workers} workers taken over", wall, "ms")
    row("  its CPU until then", cpu, "ms")


def cpu_s(process: psutil.Process) -> float:
    """CPU time of a process so far."""
    times = process.cpu_times()
    return times.user + times.system


def idle(home: Home, daemon: Daemon) -> None:
    """Print what a daemon and its workers do while nobody asks them anything."""
    process, workers = daemon.process, home.workers()
    before = cpu_s(process), process.num_ctx_switches().voluntary, sum(map(cpu_s, workers))
    began = time.perf_counter()
    time.sleep(IDLE_S)
    passed = time.perf_counter() - began
    after = cpu_s(process), process.num_ctx_switches().voluntary, sum(map(cpu_s, workers))
    share, woken, theirs = ((b - a) / passed for a, b in zip(before, after, strict=True))
    print(f"idle for {IDLE_S:.0f} s with {len(workers)} workers:")
    row("  CPU of the daemon, of one core", [share * 100], "%")
    row("  wake-ups of its loop", [woken], "/s")
    row("  its memory", [process.memory_info().rss / 2**20], "MiB")
    if workers:
        row("  CPU of the workers, of one core", [theirs * 100], "%")
        sizes = [worker.memory_info().rss / 2**20 for worker in workers]
        row("  memory of a worker", sizes, "MiB")


def cost_us(act: Callable[[], object], times: int = LOOKS) -> tuple[list[float], list[float]]:
    """CPU time of this process, and time by the clock, that each run of an act takes."""
    cpu: list[float] = []
    wall: list[float] = []
    for _ in range(times):
        began_cpu, began = time.process_time(), time.perf_counter()
        act()
        cpu.append((time.process_time() - began_cpu) * 1e6)
        wall.append((time.perf_counter() - began) * 1e6)
    return cpu, wall


def print_look(name: str, act: Callable[[], object], times: int = LOOKS) -> None:
    """Print what one look costs."""
    cpu, wall = cost_us(act, times)
    row(f"{name}, CPU", cpu, "us")
    row(f"{name}, by the clock", wall, "us")


def looks(home: Home, daemon: Daemon) -> None:
    """Print what the daemon's looks cost, each done here against a worker that is ready."""
    worker = daemon.reports()[0]
    records = home.state / "pool" / "workers"
    key = (records / f"{worker.id}.key").read_text("utf-8").strip()
    log = home.state / "pool" / "logs" / f"{worker.id}.log"
    assert worker.pid is not None
    assert worker.url is not None
    pid, url = worker.pid, worker.url

    async def look() -> object:
        return await read_counters(url, key)

    with asyncio.Runner() as runner:

        def run(act: Callable[[], Awaitable[object]]) -> object:
            return runner.run(asyncio.wait_for(act(), READY_S))

        print_look("counters of a worker", lambda: run(look))
    print_look("signs of a loading worker", lambda: read_signs(pid, log))
    print_look("memory of a worker", lambda: resident_bytes(pid))
    with contextlib.closing(open_inventory()) as inventory:
        row("devices, first look, by the clock", [timed_ms(inventory.look)], "ms")
        print_look("devices, a later look", inventory.look)


def beat(daemon: Daemon) -> None:
    """Print what a heartbeat with every worker weighs, and what it costs to write it down."""
    # The API shows no keys; a heartbeat carries them.
    workers = [it.model_copy(update={"key": SecretStr(draw_key())}) for it in daemon.reports()]
    heartbeat = Heartbeat(
        pool_id="bench",
        session_id=IdSource(SystemClock()).session(),
        seq=1,
        devices=daemon.ask.devices(),
        workers=workers,
    )
    size = len(heartbeat.model_dump_json())
    row(f"heartbeat with {len(workers)} workers", [size / 1024], "KiB")
    row("  of which each worker", [size / 1024 / max(1, len(workers))], "KiB")
    print_look("  writing it", heartbeat.model_dump_json)


def main() -> None:
    """Run everything, from an empty home to twenty workers and back."""
    with own_home() as (home, daemon):

        def list_workers() -> object:
            return home.pool("worker", "list").must()

        least = command("python -c pass", python_pass)
        command("llorch-pool --version", lambda: home.pool("--version").must(), least)
        command("worker list, no daemon, no workers", list_workers, least)
        alone = row(
            "worker program alone, to listening",
            [worker_alone_ms(home) for _ in range(ROUNDS)],
            "ms",
        )
        direct = list(direct_starts_ms(home))
        row("spawn to ready, direct, by the command", direct, "ms", alone)

        daemon.start()
        takeover(daemon, 0)
        command("worker list, daemon, no workers", list_workers, least)
        idle(home, daemon)

        spawned = [spawn_ms(daemon, 0)]
        takeover(daemon, 1)
        spawned += [spawn_ms(daemon, standing) for standing in range(1, ROUNDS)]
        row("spawn to ready, ordered from the daemon", spawned, "ms", alone)
        seen, again = killing_ms(daemon)
        row("worker killed, to seen", seen, "ms")
        row("worker killed, to ready again", again, "ms")

        began = time.perf_counter()
        for _ in range(MANY - ROUNDS):
            daemon.spawn()
        daemon.wait_until_ready(MANY)
        passed_ms = (time.perf_counter() - began) * 1e3
        row(f"{MANY - ROUNDS} ordered at once, to all ready", [passed_ms], "ms", alone)
        idle(home, daemon)
        command(f"worker list, daemon, {MANY} workers", list_workers, least)
        looks(home, daemon)
        beat(daemon)
        takeover(daemon, MANY)
        daemon.kill()
        command(f"worker list, no daemon, {MANY} workers", list_workers, least)


if __name__ == "__main__":
    main()
