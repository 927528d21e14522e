"""What is measured: nothing in between, nginx as the reference, orchestratord, and an older one.

Proxies run as processes of their own on one core; the worker and the clients share the other.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.contracts.pool import Heartbeat, Owner, PoolRegister, WorkerReport
from orchestrator_core.errors import Refusal
from orchestrator_core.testing.reports import device_report, worker_report

__all__ = [
    "MODEL",
    "Orchestrator",
    "Target",
    "find_nginx",
    "own_cores",
    "running_nginx",
    "start_daemon",
]

MODEL: Final = "tiny-chat"
_SLOTS: Final = 8192
_BEAT_S: Final = 5.0
_START_S: Final = 20.0
_NGINX: Final = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://127.0.0.1:{worker};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Connection close;
    }}
  }}
}}
"""


@dataclass
class Target:
    """Something that answers chats; without a process it is the worker itself."""

    name: str
    port: int
    key: str = "none"
    process: subprocess.Popen[bytes] | None = None

    def pids(self) -> list[int]:
        """Its processes."""
        if self.process is None:
            return []
        root = self.process.pid
        children = Path(f"/proc/{root}/task/{root}/children").read_text("ascii").split()
        return [root, *map(int, children)]

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        return self._schedstat(0)

    def waited_s(self) -> float:
        """How long its threads could have run and did not get the core."""
        return self._schedstat(1)

    def _schedstat(self, column: int) -> float:
        total_ns = 0
        for pid in self.pids():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    total_ns += int((thread / "schedstat").read_text("ascii").split()[column])
        return total_ns / 1e9

    def memory_kb(self) -> int:
        """Its proportional share of memory."""
        return sum(_pss_kb(pid) for pid in self.pids())


def _pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def own_cores() -> tuple[int, int]:
    """The core of worker and clients, and the core of the proxy; the same one if there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def find_nginx() -> str | None:
    """Where nginx lies; system administrators' folders are searched too."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def running_nginx(program: str, folder: Path, worker_port: int, core: int) -> Iterator[Target]:
    """Run nginx in front of the worker."""
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(folder=folder, user=user, port=port, worker=worker_port), encoding="ascii"
    )
    argv = [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]
    with _running(argv, core, {}, folder / "nginx.log") as process:
        _wait_for_port(port, process, folder / "nginx.log")
        yield Target("nginx", port, process=process)


class Orchestrator(Target):
    """A daemon of our own, and the pool that tells it of the one worker."""

    _client: AsyncOrchestratorClient

    async def announce(self, worker_port: int, pool_key: str) -> None:
        """Register a pool with one ready worker of very many slots."""
        self._client = AsyncOrchestratorClient(f"http://127.0.0.1:{self.port}", pool_key)
        self._worker = _report(worker_port)
        self._session = f"ses_{secrets.token_hex(8)}"
        await self._client.register(
            PoolRegister(
                pool_id="bench",
                session_id=self._session,
                endpoint="http://127.0.0.1:9",
                control_key="control",  # pyright: ignore[reportArgumentType] - read as a secret.
                version="0.1.0",
                devices=[device_report()],
                workers=[self._worker],
                models=[],
                engines=["embedded"],
            )
        )

    async def beat_for_ever(self) -> None:
        """Keep the pool alive."""
        seq = 0
        while True:
            await asyncio.sleep(_BEAT_S)
            seq += 1
            await self._client.heartbeat(
                Heartbeat(
                    pool_id="bench",
                    session_id=self._session,
                    seq=seq,
                    devices=[device_report()],
                    workers=[self._worker],
                )
            )

    async def close(self) -> None:
        """Let the connection of the pool go."""
        await self._client.aclose()


@contextlib.contextmanager
def start_daemon(
    name: str, home: Path, core: int, sources: Path | None = None
) -> Iterator[tuple[Orchestrator, str]]:
    """Run orchestratord, from another checkout if one is named; yields it and the pool's key."""
    env = {"LLORCH_HOME": str(home), "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:0"}
    if sources is not None:
        env["PYTHONPATH"] = ":".join(str(path) for path in sorted(sources.glob("*/src")))
    program = Path(sys.executable).with_name("orchestratord")
    home.mkdir()
    with _running([str(program)], core, env, home / "daemon.log") as process:
        run_file = home / "state/run/orchestratord.json"
        _wait_for(run_file, process, home / "daemon.log")
        run = RunFile.model_validate_json(run_file.read_bytes())
        keys = [
            (home / "state" / key).read_text("ascii").strip()
            for key in ("admin.key", "local-pool.key")
        ]
        target = Orchestrator(name, int(run.url.rpartition(":")[2]), keys[0], process)
        yield target, keys[1]


def _report(port: int) -> WorkerReport:
    entry = Catalog.load().resolve(MODEL)
    assert not isinstance(entry, Refusal)
    return worker_report(
        f"wrk_{1:026d}", owner=Owner.OPERATOR, spec=spec_for(entry), port=port, slots_total=_SLOTS
    )


@contextlib.contextmanager
def _running(
    argv: list[str], core: int, env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **env},
        )
    os.sched_setaffinity(process.pid, {core})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"it did not start:\n{log.read_text('utf-8', 'replace')}")
        time.sleep(0.05)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"it did not start:\n{log.read_text('utf-8', 'replace')}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
