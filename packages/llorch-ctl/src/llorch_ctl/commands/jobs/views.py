"""The three ways to show a job that is followed: its text, its events, or the whole job at its end."""

import re
import sys
from collections.abc import Mapping
from typing import Final, Protocol

import click

from llorch_ctl.commands.jobs.answer import Answer
from orchestrator_core.console.render import Output
from orchestrator_core.contracts.tasks import EventKind, JobView
from orchestrator_core.stream.sse import SseEvent

__all__ = ["EventLines", "FollowView", "TextView", "WholeJob", "number"]

# What could move a terminal's cursor or rename its window; line feeds and tabs are text.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STORED: Final = frozenset(kind.value for kind in EventKind)


class FollowView(Protocol):
    """What shows a job while it is followed."""

    talks: bool
    """Whether states are told on stderr as well."""
    wants_job: bool
    """Whether it shows the job at its end."""

    def take(self, event: SseEvent, data: Mapping[str, object]) -> None:
        """Show one event."""
        ...

    def pause(self) -> None:
        """Make room for a line on stderr: the job has not ended."""
        ...

    def finish(self, job: JobView | None) -> None:
        """Close what was shown; the job is there when `wants_job`."""
        ...


class TextView:
    """The answer on stdout, token by token."""

    talks = True
    wants_job = False

    def __init__(self, out: Output) -> None:
        self._out = out
        self._clean = sys.stdout.isatty()
        self._answer = Answer(self._write, out.warn)

    def take(self, event: SseEvent, data: Mapping[str, object]) -> None:
        """Write what a token brings; an attempt goes back to the tokens that it keeps."""
        if event.event == EventKind.TOKEN:
            text = str(data.get("t", ""))
            self._answer.token(text, number(data, "i"), number(data, "n"))
        elif event.event == EventKind.ATTEMPT:
            self._answer.attempt(number(data, "keep_tokens"))

    def pause(self) -> None:
        """Leave the open line of the answer."""
        if self._answer.line_is_open:
            self._out.say("")

    def finish(self, job: JobView | None) -> None:  # noqa: ARG002 - the text has been shown.
        """End the line."""
        self._answer.finish()

    def _write(self, text: str) -> None:
        # Half a character, or one that this terminal cannot show, must not end the program.
        encoding = sys.stdout.encoding or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
        click.echo(_CONTROLS.sub("", text) if self._clean else text, nl=False)


class EventLines:
    """Every event as an object of its own, as soon as it comes."""

    talks = False
    wants_job = False

    def __init__(self, out: Output) -> None:
        self._out = out

    def take(self, event: SseEvent, data: Mapping[str, object]) -> None:
        """Write one event; one that is not stored has no id."""
        stored = event.event in _STORED and event.id is not None and event.id.isdecimal()
        identifier = int(event.id) if stored and event.id is not None else None
        self._out.item({"id": identifier, "event": event.event, "data": dict(data)})

    def pause(self) -> None:
        """Every line is whole."""

    def finish(self, job: JobView | None) -> None:
        """The last event has said it."""


class WholeJob:
    """Nothing until the end, then the whole job."""

    talks = True
    wants_job = True

    def __init__(self, out: Output) -> None:
        self._out = out

    def take(self, event: SseEvent, data: Mapping[str, object]) -> None:
        """The job will hold it."""

    def pause(self) -> None:
        """No line is open."""

    def finish(self, job: JobView | None) -> None:
        """Show the job."""
        if job is not None:
            self._out.record(job.model_dump(mode="json"), ())


def number(data: Mapping[str, object], name: str) -> int:
    """A number of an event, 0 where it is missing."""
    value = data.get(name)
    return value if isinstance(value, int) else 0
