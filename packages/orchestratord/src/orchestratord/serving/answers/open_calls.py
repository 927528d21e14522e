"""The calls whose clients are connected now; the sweeper keeps them alive or ends them."""

import asyncio
from collections.abc import Callable
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.scheduler.events import CancelRequested, Event
from orchestratord.serving.answers.chat_call import ChatCall
from orchestratord.serving.answers.patience import run_out

__all__ = ["OpenCalls"]

_REVOKED: Final = Refusal(
    Code.BAD_KEY, "this key was revoked or has expired while the answer was on its way"
)


class OpenCalls:
    """All open connections of /v1 that wait for or receive an answer."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        post: Callable[[Event], None],
        holds: Callable[[KeyId], bool] = lambda _: True,
    ) -> None:
        self._now = now
        self._post = post
        self._holds = holds
        self.dropped_slow = 0
        self._calls: dict[JobId, tuple[ChatCall, asyncio.Timeout]] = {}
        self._quiet: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: ChatCall, patience: asyncio.Timeout) -> None:
        """Look after a call; patience ends its handler even inside a blocked send."""
        self._calls[call.id] = (call, patience)

    def drop(self, call: ChatCall) -> None:
        """The handler is done."""
        self._calls.pop(call.id, None)
        if self._quiet is not None and not self._calls:
            self._quiet.set()

    def sweep(self) -> None:
        """Send what keeps waiting streams alive; give up what is overdue."""
        now = self._now()
        valid: dict[KeyId, bool] = {}
        for call, patience in list(self._calls.values()):
            call.tick(now)
            key_id = call.record.key_id
            if key_id not in valid:
                valid[key_id] = self._holds(key_id)
            refusal = call.overdue(now)
            if not valid[key_id]:
                refusal = refusal or _REVOKED
            if refusal is not None:
                self._end(call, patience, refusal, now)

    def _end(self, call: ChatCall, patience: asyncio.Timeout, refusal: Refusal, now: float) -> None:
        # Who was told a second ago and is still here does not take it: there is no better end.
        told_before = call.flow.ended
        call.give_up(refusal)
        if call.record.finish is None:
            self._post(CancelRequested(at=now, job_id=call.id))
        if refusal.code is Code.TIMEOUT:
            self.dropped_slow += 1
        if refusal.code is Code.TIMEOUT or told_before:
            run_out(patience)

    async def emptied_or(self, hurry: asyncio.Event) -> None:
        """Return when no call is open any more, or when somebody is in a hurry."""
        self._quiet = hurry
        if self._calls:
            await hurry.wait()

    def end_all(self, refusal: Refusal) -> None:
        """The daemon stops: every client gets an end that says so."""
        for call, _ in list(self._calls.values()):
            call.give_up(refusal)
