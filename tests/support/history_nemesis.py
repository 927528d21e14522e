"""Kills the daemons and the workers of a home in the middle of work, and brings them back.

A daemon is started again at once, as a service manager would, and now and then killed once more
while it comes up. A killed worker comes back by its pool; one that was killed so often that its
pool would give it up is started anew.
"""

import asyncio
import contextlib
import random
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.faults import is_alive, kill, listed
from support.history import History
from support.history_clients import Pace
from support.home import Home
from support.pool_commands import spawn
from support.waiting import until

__all__ = ["MODEL", "Nemesis", "plan_of"]

MODEL = ("tiny-chat", "--threads", "1")

_WORKERS = 2
_KILLS_PER_WORKER = 3
# How often a worker dies together with the orchestrator, and how often that dies again at once.
_BOTH, _AGAIN = 0.1, 0.2
# Within this time a daemon reads its database, brings its jobs back and begins to listen.
_COMES_UP_S = 1.5
_PROGRAM = Path(sys.executable).parent / "orchestratord"
_WAIT_S = 120.0


def plan_of(dice: random.Random, jobs: int, kills: dict[str, int]) -> list[tuple[int, str]]:
    """What is struck after how many jobs: evenly spread over the jobs, in an order by chance."""
    strikes = [kind for kind, number in kills.items() for _ in range(number)]
    dice.shuffle(strikes)
    step = jobs / (len(strikes) + 1)
    return [(int(step * number), kind) for number, kind in enumerate(strikes, start=1)]


@dataclass
class Nemesis:
    """Strikes by the pace of the clients."""

    home: Home
    history: History
    pace: Pace
    dice: random.Random
    _killed: Counter[str] = field(default_factory=Counter[str])

    async def run(self, plan: list[tuple[int, str]]) -> None:
        """Strike as planned; who is not back yet is waited for."""
        strike: dict[str, Callable[[], Awaitable[None]]] = {
            "orchestratord": self._kill_orchestrator,
            "orderly restart": self._restart_orchestrator,
            "pool-managerd": self._kill_pool,
            "worker": self._kill_worker,
        }
        for due, kind in plan:
            await until(
                lambda jobs=due: self.pace.jobs_done >= jobs or self.pace.is_over,
                timeout_s=_WAIT_S,
                what=f"{due} jobs",
            )
            await strike[kind]()

    async def _in_mid_answer(self) -> None:
        async with asyncio.timeout(_WAIT_S):
            await self.pace.token_after(self.dice.randint(0, 40))

    async def _kill_orchestrator(self) -> None:
        workers = await self._workers() if self.dice.random() < _BOTH else {}
        pid = self.home.pid("orchestratord")
        await self._in_mid_answer()
        kill(pid)
        self.history.orchestrator_kills += 1
        if workers:
            await self._strike(workers)
        if self.dice.random() < _AGAIN:
            await self._kill_while_it_comes_up(self.dice.uniform(0, _COMES_UP_S))
        await self._start_orchestrator()

    async def _restart_orchestrator(self) -> None:
        await self._in_mid_answer()
        self.history.orderly_stops += 1
        stopped = await asyncio.to_thread(self.home.llorch, "orchestrator", "stop")
        stopped.must()
        await self._start_orchestrator()

    async def _start_orchestrator(self) -> None:
        started = await asyncio.to_thread(self.home.llorch, "orchestrator", "start")
        started.must()
        self.history.orchestrator_starts += 1

    async def _kill_while_it_comes_up(self, after_s: float) -> None:
        with (self.home.state / "log" / "orchestratord.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                _PROGRAM, env=self.home.env, stdin=DEVNULL, stdout=log, stderr=log
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        self.history.early_kills += 1

    async def _kill_pool(self) -> None:
        pid = self.home.pid("pool-managerd")
        await self._in_mid_answer()
        kill(pid)
        self.history.pool_kills += 1
        # Only this one tells the pool's daemon where its orchestrator is.
        started = await asyncio.to_thread(self.home.llorch, "up")
        started.must()

    async def _kill_worker(self) -> None:
        workers = await self._workers()
        await self._in_mid_answer()
        await self._strike(workers)

    async def _workers(self) -> dict[str, object]:
        """The process of each worker, once all of them are there."""

        async def up() -> dict[str, object]:
            found = await asyncio.to_thread(listed, self.home)
            # One that died twice right after its start is not started again by its pool.
            for worker_id in [name for name, it in found.items() if it["status"] == "parked"]:
                await self._replace(worker_id)
            workers = {
                worker_id: it["pid"]
                for worker_id, it in found.items()
                if it["status"] in ("ready", "busy") and is_alive(it["pid"])
            }
            return workers if len(workers) >= _WORKERS else {}

        return await until(up, timeout_s=_WAIT_S, what="both workers", every_s=0.1)

    async def _replace(self, worker_id: str) -> None:
        stopped = await asyncio.to_thread(self.home.pool, "worker", "stop", worker_id)
        stopped.must()
        await asyncio.to_thread(spawn, self.home, *MODEL)

    async def _strike(self, workers: dict[str, object]) -> None:
        victim = self.pace.busy if self.pace.busy in workers else self.dice.choice([*workers])
        kill(workers[victim])
        self.history.worker_kills += 1
        self._killed[victim] += 1
        if self._killed[victim] >= _KILLS_PER_WORKER:
            await self._replace(victim)
