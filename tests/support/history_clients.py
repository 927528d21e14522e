"""Clients of a daemon that keeps dying: they ask again until they are answered, and note it all.

Each has dice of its own. A submission is repeated under its key until it is acknowledged, a stream
is taken up behind the last event that was shown, and every byte is kept for the judge.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import httpx

from support.history import TERMINAL_KINDS, Cancel, Frame, History, Reading, Submission
from support.history_calls import Caller
from support.home import Home
from support.waiting import until

__all__ = ["Client", "Pace"]

_ANSWERED_WITHIN_S = 90.0
_ASK_AGAIN_AFTER_S = 0.1
# How often a client puts a call of /v1 before its next job.
_CALLS = 0.15
_TRY_LATER = frozenset({429, 500, 502, 503, 504})
# What a connection to a daemon that dies or is dead may come to.
_CUT = (httpx.TransportError, FileNotFoundError, json.JSONDecodeError)


class Pace:
    """How far all clients are; the nemesis strikes by it, in the middle of an answer."""

    def __init__(self, clients: int) -> None:
        self.jobs_done = 0
        self.busy = ""
        """The worker whose token was shown last."""
        self._clients_left = clients
        self._frames_shown = 0
        self._due: int | None = None
        self._reached = asyncio.Event()
        self._workers: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        """True when no client has anything left to do."""
        return self._clients_left == 0

    def show(self, job_id: str, frame: Frame, *, is_newest: bool) -> None:
        """An event was shown; with more of its stream behind it, its job is surely at work."""
        self._frames_shown += 1
        if frame.kind == "started":
            self._workers[job_id] = json.loads(frame.data)["worker_id"]
        if frame.kind == "token" and is_newest:
            self.busy = self._workers.get(job_id, "")
            if self._due is not None and self._frames_shown >= self._due:
                self._reached.set()

    def finish(self) -> None:
        """A client is through."""
        self._clients_left -= 1
        if self.is_over:
            self._reached.set()

    async def token_after(self, frames: int) -> None:
        """Return at the first token of a living answer that is shown after so many events."""
        self._reached.clear()
        if not self.is_over:
            self._due = self._frames_shown + frames
            await self._reached.wait()
            self._due = None


@dataclass
class Client:
    """One client and its part of the jobs."""

    number: int
    home: Home
    history: History
    pace: Pace
    prompts: list[str]
    http: httpx.AsyncClient
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.history.seed} {self.number}")

    async def run(self, jobs: int) -> None:
        """Work through this client's jobs, one after another."""
        caller = Caller(self.home, self.history, self.http, self.dice)
        for number in range(jobs):
            if self.dice.random() < _CALLS:
                await caller.ask(self.dice.choice(self.prompts))
            wish = Submission(
                idempotency_key=f"{self.history.seed}-{self.number}-{number}",
                prompt=self.dice.choice(self.prompts),
            )
            self.history.submissions.append(wish)
            await self._deal_with(wish)
            self.pace.jobs_done += 1
        self.pace.finish()

    async def _deal_with(self, wish: Submission) -> None:
        if (job_id := await self._submit(wish)) is None:
            return
        if self.dice.random() < 0.15 and await self._submit(wish) is None:
            return
        kind = self.dice.choices(("follow", "cancel", "leave"), (60, 15, 25))[0]
        if kind == "follow":
            await self.follow(job_id)
        elif kind == "cancel":
            if self.dice.random() < 0.5:
                await self.follow(job_id, frames=self.dice.randint(1, 6))
            await self._cancel(job_id)
            if not self._has_ended(job_id):
                await self.follow(job_id, after=self._shown_of(job_id))

    async def replay(self, every: int = 1) -> None:
        """Read this client's jobs again when all is over: each wholly, and from somewhere on."""
        for job_id in self._jobs[::every]:
            last = self._shown_of(job_id)
            await self.follow(job_id)
            await self.follow(job_id, after=self.dice.randint(0, max(0, last - 1)))

    @property
    def _jobs(self) -> list[str]:
        mine = f"{self.history.seed}-{self.number}-"
        wishes = [it for it in self.history.submissions if it.idempotency_key.startswith(mine)]
        return [it.job_ids[0] for it in wishes if it.job_ids]

    def _has_ended(self, job_id: str) -> bool:
        readings = [it for it in self.history.readings if it.job_id == job_id]
        return any(frame.kind in TERMINAL_KINDS for it in readings for frame in it.frames)

    def _shown_of(self, job_id: str) -> int:
        return max((it.last_id for it in self.history.readings if it.job_id == job_id), default=0)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.home.key}"}

    async def _submit(self, wish: Submission) -> str | None:
        """Send until it is answered; the job's id, or None when it was refused."""
        body = {"model": "tiny-chat", "prompt": wish.prompt, "temperature": 0}

        async def answered() -> str | None:
            try:
                url = f"{self.home.url}/v2/tasks"
                headers = self._headers | {"Idempotency-Key": wish.idempotency_key}
                wish.sent += 1
                reply = await self.http.post(url, json=body, headers=headers)
            except _CUT:
                return None
            if reply.is_success:
                wish.job_ids.append(reply.json()["job_id"])
                return wish.job_ids[-1]
            if reply.status_code in _TRY_LATER:
                return None
            wish.refusals.append(f"{reply.status_code} {reply.text[:300]}")
            return "refused"

        job_id = await until(
            answered,
            timeout_s=_ANSWERED_WITHIN_S,
            what=f"an answer to {wish.idempotency_key}",
            every_s=_ASK_AGAIN_AFTER_S,
        )
        return None if wish.refusals else job_id

    async def _cancel(self, job_id: str) -> None:
        async def answered() -> bool:
            try:
                reply = await self.http.delete(
                    f"{self.home.url}/v2/tasks/{job_id}", headers=self._headers
                )
            except _CUT:
                self.history.cancels.append(Cancel(job_id, acknowledged=False))
                return False
            self.history.cancels.append(Cancel(job_id, acknowledged=reply.is_success))
            if not reply.is_success and reply.status_code not in _TRY_LATER:
                self.history.lost.append((job_id, f"{reply.status_code} {reply.text[:300]}"))
                return True
            return reply.is_success

        await until(
            answered,
            timeout_s=_ANSWERED_WITHIN_S,
            what=f"the cancel of {job_id}",
            every_s=_ASK_AGAIN_AFTER_S,
        )

    async def follow(self, job_id: str, *, after: int = 0, frames: int | None = None) -> None:
        """Read a stream to its end, or to so many events, over as many connections as it takes."""
        seen = [after, 0]

        async def over() -> bool:
            reading = Reading(job_id, after=seen[0])
            try:
                async with contextlib.aclosing(self._frames(reading)) as shown:
                    async for frame in shown:
                        seen[1] += 1
                        if frame.kind in TERMINAL_KINDS or seen[1] == frames:
                            return True
            except _CUT:
                return False
            finally:
                seen[0] = reading.last_id
            return bool(self.history.lost and self.history.lost[-1][0] == job_id)

        await until(
            over,
            timeout_s=_ANSWERED_WITHIN_S,
            what=f"the end of the stream of {job_id}",
            every_s=_ASK_AGAIN_AFTER_S,
        )

    async def _frames(self, reading: Reading) -> AsyncGenerator[Frame]:
        url = f"{self.home.url}/v2/tasks/{reading.job_id}/events"
        headers = self._headers
        if reading.after:
            headers["Last-Event-ID"] = str(reading.after)
        async with self.http.stream("GET", url, headers=headers) as reply:
            if not reply.is_success:
                words = f"{reply.status_code} {(await reply.aread()).decode()[:300]}"
                if reply.status_code not in _TRY_LATER:
                    self.history.lost.append((reading.job_id, words))
                return
            self.history.readings.append(reading)
            async for piece in reply.aiter_raw():
                *whole, reading.rest = (reading.rest + piece).split(b"\n\n")
                for left, raw in zip(range(len(whole), 0, -1), whole, strict=True):
                    if (frame := Frame.read(raw + b"\n\n")) is not None:
                        reading.frames.append(frame)
                        self.pace.show(reading.job_id, frame, is_newest=left == 1)
                        yield frame
