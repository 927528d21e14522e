"""A worker's log as server-sent events: the last lines, and on request every new one.

Only the operator's key opens it, because engines may print prompts. A stream ends with `end` and
the worker's status; one that ends without it was cut short by the daemon's own end.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.stream import sse
from pool_core.workers.charge import ENDED
from pool_core.workers.logs import POLL_S, follow_batches
from pool_managerd.api.replies import refused
from pool_managerd.runtime.pool import Pool

__all__ = ["LogsApi"]

_TAIL_MAX_LINES: Final = 100_000
_OPEN_MAX: Final = 32
_COMMENT_EVERY_S: Final = 15.0
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class LogsApi:
    """Answers with what workers say."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open = 0

    async def logs(
        self,
        worker: str,
        tail: Annotated[int, Query(ge=0, le=_TAIL_MAX_LINES)] = 100,
        follow: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    ) -> Response:
        """Stream the log of a worker by id or name, of one that has ended by its id."""
        path = self._pool.workers.log_path(worker)
        if path is None:
            return refused(self._no_log(worker))
        if self._open >= _OPEN_MAX:
            return refused(Refusal(Code.RATE, f"{_OPEN_MAX} logs are being read already"))
        # A name may be given to another worker meanwhile; the file is called by the id.
        words = self._counted(self._words(path, path.stem, tail, follow=follow))
        return StreamingResponse(words, media_type="text/event-stream", headers=_HEADERS)

    async def _counted(self, words: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            async for piece in words:
                yield piece
        finally:
            self._open -= 1

    async def _words(
        self, path: Path, worker_id: str, tail: int, *, follow: bool
    ) -> AsyncIterator[bytes]:
        stopping = self._pool.stopping
        quiet_s = 0.0

        def is_over() -> bool:
            return not follow or stopping.is_set() or self._has_ended(worker_id)

        async def wait(pause_s: float) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stopping.wait()

        # A client sees at once that it was let in, even while the worker says nothing.
        yield sse.comment()
        async for batch in follow_batches(path, lines=tail, ended=is_over, wait=wait):
            if batch:
                quiet_s = 0.0
                yield b"".join(_event("log", {"line": line}) for line in batch)
                continue
            quiet_s += POLL_S
            if quiet_s >= _COMMENT_EVERY_S:
                quiet_s = 0.0
                yield sse.comment()
        if follow and stopping.is_set() and not self._has_ended(worker_id):
            yield sse.comment("pool-managerd stops; the worker goes on")
        else:
            yield _event("end", {"status": self._status(worker_id).value})

    def _report(self, worker: str) -> WorkerReport | None:
        reports = self._pool.workers.reports()
        return next((it for it in reports if worker in (it.id, it.name)), None)

    def _status(self, worker_id: str) -> WorkerStatus:
        report = self._report(worker_id)
        return report.status if report else WorkerStatus.STOPPED

    def _has_ended(self, worker_id: str) -> bool:
        return self._status(worker_id) in ENDED

    def _no_log(self, worker: str) -> Refusal:
        if self._report(worker) is None:
            return Refusal(Code.WORKER_NOT_FOUND, f"no worker of this host is named {worker}")
        return Refusal(Code.NOT_FOUND, f"worker {worker} has written no log on this host")


def _event(kind: str, data: dict[str, str]) -> bytes:
    return sse.encode(event=kind, data=json.dumps(data, ensure_ascii=False))
