"""Shows something again and again: a terminal is redrawn, a pipe gets one frame after the other.

A daemon that is away for a while is waited for; Ctrl-C ends the watching, which is no failure.
"""

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import click

from orchestrator_core.clock import SystemClock, rfc3339
from orchestrator_core.console.exits import complain
from orchestrator_core.console.options import Seconds
from orchestrator_core.console.render import Format, Output
from orchestrator_core.errors import Code, Exit, LlorchError

__all__ = ["Rhythm", "Watch", "watch_option"]

R = TypeVar("R")
T = TypeVar("T")

_EVERY_S: Final = 2.0
_SHORTEST_S: Final = 0.2
# Home, then everything behind the cursor: less than a whole clear, so that nothing flickers.
_REDRAW: Final = "\x1b[H\x1b[J"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How the time between two frames passes, and which time stands above a frame."""

    pause: Callable[[float], None] = time.sleep
    unix_ms: Callable[[], int] = SystemClock().unix_ms


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether to go on showing; every_s is None where one look is enough."""

    out: Output
    every_s: float | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)

    def run(self, look: Callable[[], T], show: Callable[[T], None]) -> int:
        """Look and show, once or until Ctrl-C; looking calls the daemon, showing only prints."""
        if self.every_s is None:
            show(look())
            return Exit.OK
        self.out.is_endless = self.out.shape is not Format.TABLE
        try:
            self._go_on(look, show, self.every_s)
        except KeyboardInterrupt:
            self.out.say("")
        return Exit.OK

    def _go_on(self, look: Callable[[], T], show: Callable[[T], None], every_s: float) -> None:
        frames, told = 0, ""
        while True:
            try:
                found = look()
            except LlorchError as error:
                if not (error.refusal.outcome.retry_later or error.code is Code.TIMEOUT):
                    raise
                # One outage means many vain looks; a person wants to hear of it once.
                if error.refusal.message != told:
                    complain(error)
                    self.out.say(f"looking again every {every_s:g} s; Ctrl-C ends it")
                told = error.refusal.message
            else:
                told = ""
                self._head(first=frames == 0)
                show(found)
                frames += 1
            self.rhythm.pause(every_s)

    def _head(self, *, first: bool) -> None:
        if self.out.shape is not Format.TABLE:
            return
        moment = rfc3339(self.rhythm.unix_ms())
        if sys.stdout.isatty():
            click.echo(_REDRAW, nl=False)
            self.out.say(f"{moment}  every {self.every_s:g} s, Ctrl-C ends it")
            return
        if not first:
            self.out.text("")
        self.out.text(moment)


def watch_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add --watch and --every; stands below output_options, the command gets all as `watch`."""

    @click.option(
        "--watch",
        "is_watched",
        is_flag=True,
        help="Show it again and again, until Ctrl-C; JSON is one document per line.",
    )
    # A number of its own option: one right behind --watch could as well be the command's argument.
    @click.option(
        "--every",
        "every_s",
        type=Seconds(min=_SHORTEST_S),
        metavar="SECONDS",
        help=f"Watch in this rhythm; --watch alone takes {_EVERY_S:g} s.",
    )
    @functools.wraps(function)
    def call(
        *args: object, out: Output, is_watched: bool, every_s: float | None, **kwargs: object
    ) -> R:
        rhythm_s = _EVERY_S if is_watched and every_s is None else every_s
        return function(*args, out=out, watch=Watch(out, rhythm_s), **kwargs)

    return call
