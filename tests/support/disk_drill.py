"""A real orchestratord whose whole home lies on a small disk, with a scripted engine as its worker.

The test fills the disk and frees it again; the log lies elsewhere, so that it tells all of it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from orchestrator_core.testing.reports import device_report
from support.event_streams import EventStream
from support.orchestrator import chat_body, ready_worker
from support.small_disk import SmallDisk
from support.waiting import until

__all__ = ["DiskDrill"]

_PROGRAM = Path(sys.executable).parent / "orchestratord"
_PATIENCE_S = 20.0
_SESSION = "ses_00000000000000000000000001"


class DiskDrill:
    """One installation on one disk, through several lives of its daemon."""

    def __init__(self, disk: SmallDisk, log: Path, **settings: object) -> None:
        self.disk = disk
        self.home = disk.folder / "home"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.AsyncClient | None = None
        self._env = {n: value for n, value in os.environ.items() if not n.startswith("LLORCH_")}
        self._env |= {"LLORCH_HOME": str(self.home), "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:0"}
        for name, value in settings.items():
            self._env[f"LLORCH_ORCHESTRATOR_{name.upper()}"] = str(value)

    @property
    def client(self) -> httpx.AsyncClient:
        """Speaks to the daemon of now as its admin."""
        assert self._client is not None
        return self._client

    @property
    def pid(self) -> int:
        """The process of the last life."""
        assert self._process is not None
        return self._process.pid

    @property
    def ballast(self) -> Path:
        """The space in reserve."""
        return self.home / "data" / "orchestrator" / "ballast"

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator["DiskDrill"]:
        """Run the daemon for a block; it is killed at its end, if it has not gone before."""
        run_file = self.home / "state" / "run" / "orchestratord.json"
        run_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            process = self._process = self._spawn(log)
        try:
            await until(
                lambda: run_file.exists() or process.poll() is not None,
                timeout_s=_PATIENCE_S,
                what="the daemon",
            )
            assert process.poll() is None, self.log()
            key = (self.home / "state" / "admin.key").read_text().strip()
            async with httpx.AsyncClient(
                base_url=json.loads(run_file.read_text())["url"],
                headers={"authorization": f"Bearer {key}"},
                timeout=_PATIENCE_S,
                trust_env=False,
            ) as self._client:
                yield self
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(_PATIENCE_S)

    def _spawn(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen([_PROGRAM], env=self._env, stderr=log, stdout=log)

    def kill(self) -> None:
        """End the daemon without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_PATIENCE_S)

    def stop(self) -> int:
        """End it in good order and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_PATIENCE_S)

    def log(self) -> str:
        """All that every life has logged."""
        return self._log.read_text("utf-8", errors="replace")

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about one event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def fill(self) -> None:
        """Let somebody else write until nothing is free any more."""
        while self.disk.free_bytes:
            # Between the look and the writing the daemon may have taken what was free.
            with contextlib.suppress(OSError):
                self.disk.grow_another_file(leaving_bytes=0)

    async def fill_for_good(self) -> None:
        """Fill the disk, and the space of the ballast too once it is given up."""

        def is_spent() -> bool:
            self.fill()
            return self.ballast.stat().st_size <= 1 << 20

        await until(is_spent, timeout_s=_PATIENCE_S, what="the end of the ballast")
        self.fill()

    async def reasons(self) -> list[str]:
        """Why the daemon takes no work."""
        return (await self.client.get("/readyz")).json()["reasons"]

    async def writes_waiting(self) -> int:
        """How many writes have not reached the disk yet."""
        told = (await self.client.get("/metrics")).text
        (line,) = [
            line for line in told.splitlines() if line.startswith("orchd_store_writes_waiting ")
        ]
        return int(float(line.rpartition(" ")[2]))

    async def submit(self, prompt: str = "Hello") -> httpx.Response:
        """Try to queue a job."""
        return await self.client.post("/v2/tasks", json={"model": "tiny-chat", "prompt": prompt})

    async def listed(self) -> set[str]:
        """The ids of all jobs."""
        found: set[str] = set()
        cursor: str | None = None
        while True:
            query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = (await self.client.get("/v2/tasks", params=query)).json()
            found |= {item["id"] for item in page["items"]}
            cursor = page["next"]
            if cursor is None:
                return found

    async def register(self, *ports: int) -> None:
        """Announce the workers of this machine's pool."""
        workers = [ready_worker(port, number) for number, port in enumerate(ports, start=1)]
        body = {
            "pool_id": "home",
            "session_id": _SESSION,
            "devices": [device_report().model_dump(mode="json")],
            "workers": [worker.model_dump(mode="json") for worker in workers],
            "endpoint": "http://127.0.0.1:9",
            "control_key": "control",
            "version": "0.1.0",
            "models": [],
            "engines": ["embedded"],
        }
        key = (self.home / "state" / "local-pool.key").read_text().strip()
        headers = {"authorization": f"Bearer {key}"}
        reply = await self.client.post("/v2/pools/register", json=body, headers=headers)
        assert reply.status_code == 200, reply.text

    @contextlib.asynccontextmanager
    async def events(self, job_id: str) -> AsyncIterator[EventStream]:
        """Read a job's events."""
        async with self.client.stream("GET", f"/v2/tasks/{job_id}/events") as response:
            assert response.status_code == 200
            yield EventStream(response)

    @contextlib.asynccontextmanager
    async def chat(self) -> AsyncIterator[EventStream]:
        """Ask for a streamed chat."""
        body = chat_body(stream=True)
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            yield EventStream(response)

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for a job's end and show it."""
        found: dict[str, Any] = {}

        async def look() -> bool:
            found.update((await self.client.get(f"/v2/tasks/{job_id}")).json())
            return found["ended_at"] is not None

        await until(look, timeout_s=_PATIENCE_S, what=f"the end of {job_id}")
        return found

    async def ready(self) -> None:
        """Wait until work is taken again."""

        async def look() -> bool:
            return await self.reasons() == []

        await until(look, timeout_s=_PATIENCE_S, what="a daemon that takes work")

    async def short(self) -> None:
        """Wait until the daemon says that it has too little space."""

        async def look() -> bool:
            return "the disk under the store is short of space" in await self.reasons()

        await until(look, timeout_s=_PATIENCE_S, what="a daemon that is short of space")
