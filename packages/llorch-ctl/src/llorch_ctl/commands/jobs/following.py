"""Follows the events of one job: data to a view, talk to stderr, and its end to an exit code.

What interrupts it (Ctrl-C, a time limit, a daemon that stays away) is answered here as well.
"""

import json
from collections.abc import Callable, Mapping
from typing import cast

from llorch_ctl.commands.jobs.views import FollowView, number
from llorch_ctl.commands.time_limit import TimeIsUp, time_limit
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.resume import GAP_EVENT
from orchestrator_core.console.exits import complain
from orchestrator_core.console.render import Output
from orchestrator_core.contracts.tasks import EventKind, JobStatus, JobView
from orchestrator_core.errors import Code, Exit, LlorchError, PeerError, Refusal, error_for
from orchestrator_core.stream.sse import SseEvent

__all__ = ["Follower", "attend", "cancel_followed"]


class Follower:
    """One job on its way to its end; `after` is the last event that has been seen."""

    def __init__(
        self,
        client: OrchestratorClient,
        job_id: str,
        out: Output,
        view: FollowView,
        *,
        after: int = 0,
    ) -> None:
        self.client = client
        self.job_id = job_id
        self.after = after
        self.view = view
        self._out = out
        self._error: LlorchError | None = None
        self._ended = False
        self._told = ""
        self._runs = False
        self._waits_for = ""

    @property
    def watch_command(self) -> str:
        """What goes on where this command stops."""
        return f"llorch jobs watch {self.job_id} --after {self.after}"

    def run(self) -> int:
        """Follow the job to its end and tell the exit code that belongs to it."""
        quiet = self._quiet if self.view.talks else None
        for event in self.client.events(self.job_id, self.after, on_cut=self._cut, on_quiet=quiet):
            self._take(event)
        job = None
        if self.view.wants_job or not self._ended:
            job = self.client.job(self.job_id)
        if job is not None and not self._ended:
            # The stream closed without an event: all of them had been seen before.
            self._out.say(f"{job.id} has ended ({job.status}); nothing follows event {self.after}")
            self._error = _failure_of(job)
        self.view.finish(job)
        return complain(self._error) if self._error else Exit.OK

    def _take(self, event: SseEvent) -> None:
        self._told = ""
        data = _data(event)
        if event.id is not None and event.id.isdecimal():
            self.after = max(self.after, int(event.id))
        if event.event == GAP_EVENT:
            self.after = max(self.after, number(data, "to"))
            gone = f"{number(data, 'from')} to {number(data, 'to')}"
            self._out.warn(f"events {gone} are gone: they were older than the retention time")
        elif event.event == EventKind.ERROR:
            self._ended, self._error = True, _failure(data)
        elif event.event == EventKind.END:
            self._ended = True
        elif self.view.talks:
            self._talk(event.event, data)
        self.view.take(event, data)

    def _talk(self, kind: str, data: Mapping[str, object]) -> None:
        match kind:
            case EventKind.QUEUED:
                place = data.get("queue_position")
                self._out.say(f"{self.job_id} queued" + (f", position {place}" if place else ""))
            case EventKind.STARTED:
                self._runs = True
                worker = data.get("worker_name") or data.get("worker_id")
                self._out.say(f"attempt {data.get('attempt')} runs on {worker}")
            case EventKind.ATTEMPT:
                self._runs = False
                kept = number(data, "keep_tokens")
                how = f"goes on behind token {kept}" if kept else "begins anew"
                self._out.say(f"attempt {data.get('attempt')}: {data.get('reason')}; it {how}")
            case _:
                pass

    def _quiet(self) -> None:
        """Say why the job waits, once for each reason."""
        if self._runs:
            return
        try:
            waits_for = "; ".join(self.client.job(self.job_id).why or ())
        except LlorchError:
            # It was only for the talk; the stream itself will show what is wrong.
            return
        if waits_for and waits_for != self._waits_for:
            self._out.say(f"{self.job_id} {waits_for}")
        self._waits_for = waits_for

    def _cut(self, reason: str) -> None:
        # One outage means many vain attempts; a person wants to hear of it once.
        if reason != self._told:
            self._out.say(f"{reason}; trying again")
        self._told = reason


def attend(
    follower: Follower,
    out: Output,
    *,
    timeout_s: float | None,
    on_interrupt: Callable[[], None],
    stays: bool | None = True,
) -> int:
    """Follow a job until its end, the time limit or Ctrl-C.

    `stays` says whether it runs on when nobody follows it; None: only who handed it in knows.
    """
    try:
        with time_limit(timeout_s):
            return follower.run()
    except TimeIsUp:
        follower.view.pause()
        what_next = {
            True: f"it runs on: {follower.watch_command}",
            False: "leaving cancels it",
            None: f"go on with: {follower.watch_command}",
        }
        text = f"{follower.job_id} has not ended in time; {what_next[stays]}"
        return complain(PeerError(Refusal(Code.TIMEOUT, text)))
    except KeyboardInterrupt:
        on_interrupt()
        return Exit.INTERRUPTED
    except LlorchError as error:
        follower.view.pause()
        if stays is not False and (error.refusal.outcome.retry_later or error.code is Code.TIMEOUT):
            out.warn(f"{follower.job_id} does not need this command: {follower.watch_command}")
        raise


def cancel_followed(follower: Follower, out: Output) -> None:
    """Cancel the job that is followed and wait for its end; a second Ctrl-C leaves at once."""
    job_id = follower.job_id
    try:
        out.say("")
        out.say(f"cancelling {job_id}; Ctrl-C again leaves at once")
        job = follower.client.cancel(job_id)
    except KeyboardInterrupt:
        out.warn(f"left without an answer: {job_id} may run on; llorch jobs status {job_id}")
    except LlorchError as error:
        out.warn(f"{job_id} could not be cancelled and may run on: {error.refusal.message}")
    else:
        if job.status is JobStatus.CANCELLED:
            out.say(f"{job_id} cancelled")
        elif job.ended_at is not None:
            out.say(f"{job_id} had already ended: {job.status}")
        else:
            out.say(f"{job_id} will be cancelled; llorch jobs status {job_id} tells when")


def _data(event: SseEvent) -> dict[str, object]:
    try:
        data: object = json.loads(event.data)
    except ValueError as error:
        text = f"event {event.id} of the job's stream is not JSON"
        raise PeerError(Refusal(Code.INTERNAL, text)) from error
    return cast("dict[str, object]", data) if isinstance(data, dict) else {}


def _failure(data: Mapping[str, object]) -> LlorchError:
    message = str(data.get("message") or "the job has failed")
    code = str(data.get("code"))
    if code not in Code.__members__:
        return PeerError(Refusal(Code.INTERNAL, f"{code}: {message}"))
    return error_for(Refusal(Code(code), message))


def _failure_of(job: JobView) -> LlorchError | None:
    if job.error_code is None:
        return None
    return _failure({"code": job.error_code, "message": job.error_message})
