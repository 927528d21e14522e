"""Hands one job in and follows its events: the answer to stdout, talk to stderr, then the code."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Final, cast

import click
from pydantic import ValidationError

from llorch_ctl.commands.answer import Answer
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.console.exits import complain
from orchestrator_core.console.render import Format, Output
from orchestrator_core.contracts.tasks import EventKind, TaskAccepted, TaskSubmit
from orchestrator_core.errors import Code, Exit, LlorchError, PeerError, Refusal, error_for
from orchestrator_core.stream.sse import SseEvent

__all__ = ["compose", "run_job"]

# What could move a terminal's cursor or rename its window; line feeds and tabs are text.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FLAGS: Final = {"session_id": "--session"}


def compose(fields: Mapping[str, object]) -> TaskSubmit:
    """Check the fields of a job before the call; a wrong one is a usage error."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return TaskSubmit.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else "prompt"
        flag = _FLAGS.get(field, f"--{field.replace('_', '-')}")
        raise click.BadParameter(problem["msg"], param_hint=flag) from None


def run_job(client: OrchestratorClient, accepted: TaskAccepted, out: Output) -> int:
    """Follow a job to its end; Ctrl-C cancels it."""
    try:
        return _Follower(client, accepted.job_id, out).run()
    except KeyboardInterrupt:
        _cancel(client, accepted.job_id, out)
        return Exit.INTERRUPTED


def _cancel(client: OrchestratorClient, job_id: str, out: Output) -> None:
    out.say("")
    try:
        client.cancel(job_id)
    except LlorchError as error:
        out.warn(f"{job_id} could not be cancelled: {error.refusal.message}")
    else:
        out.say(f"{job_id} cancelled")


class _Follower:
    def __init__(self, client: OrchestratorClient, job_id: str, out: Output) -> None:
        self._client = client
        self._job_id = job_id
        self._out = out
        self._streams = out.shape is Format.TABLE
        self._clean = sys.stdout.isatty()
        self._answer = Answer(self._write, self._remark)
        self._error: LlorchError | None = None
        self._told = ""

    def run(self) -> int:
        for event in self._client.events(self._job_id, on_cut=self._cut):
            self._take(event)
        self._answer.finish()
        if not self._streams:
            job = self._client.job(self._job_id)
            self._out.record(job.model_dump(mode="json"), ())
        return complain(self._error) if self._error else Exit.OK

    def _take(self, event: SseEvent) -> None:
        self._told = ""
        data = _data(event)
        match event.event:
            case EventKind.QUEUED:
                place = data.get("queue_position")
                self._out.say(f"{self._job_id} queued" + (f", position {place}" if place else ""))
            case EventKind.STARTED:
                worker = data.get("worker_name") or data.get("worker_id")
                self._out.say(f"attempt {data.get('attempt')} runs on {worker}")
            case EventKind.ATTEMPT:
                self._out.say(f"attempt {data.get('attempt')}: {data.get('reason')}")
                self._answer.attempt(_number(data, "keep_tokens"))
            case EventKind.TOKEN:
                text = str(data.get("t", ""))
                self._answer.token(text, _number(data, "i"), _number(data, "n"))
            case EventKind.ERROR:
                self._error = _failure(data)
            case _:
                pass

    def _write(self, text: str) -> None:
        if not self._streams:
            return
        # A character that arrived in halves must not end the program at the terminal's edge.
        text = text.encode("utf-8", "replace").decode("utf-8")
        click.echo(_CONTROLS.sub("", text) if self._clean else text, nl=False)

    def _remark(self, text: str) -> None:
        if self._streams:
            self._out.warn(text)

    def _cut(self, reason: str) -> None:
        # One outage means many vain attempts; a person wants to hear of it once.
        if reason != self._told:
            self._out.say(f"{reason}; trying again")
        self._told = reason


def _data(event: SseEvent) -> dict[str, object]:
    try:
        data: object = json.loads(event.data)
    except ValueError as error:
        text = f"event {event.id} of the job's stream is not JSON"
        raise PeerError(Refusal(Code.INTERNAL, text)) from error
    return cast("dict[str, object]", data) if isinstance(data, dict) else {}


def _number(data: Mapping[str, object], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0


def _failure(data: Mapping[str, object]) -> LlorchError:
    message = str(data.get("message") or "the job has failed")
    code = str(data.get("code"))
    if code not in Code.__members__:
        return PeerError(Refusal(Code.INTERNAL, f"{code}: {message}"))
    return error_for(Refusal(Code(code), message))
