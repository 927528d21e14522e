"""Shows long acts to a person: a bar on a terminal, lines elsewhere, nothing when quiet."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

import click

from orchestrator_core.clock import SystemClock
from orchestrator_core.console.render import Output, cell
from pool_ctl.commands.progress.lines import ProgressLines
from pool_ctl.commands.progress.moments import Moment, Speed

__all__ = ["Lines", "Shower", "show_progress"]

_CLOCK: Final = SystemClock()


class Shower(Protocol):
    """Shows moments until its block ends."""

    def show(self, moment: Moment) -> None:
        """Show how far the act has come."""
        ...

    def say(self, text: str) -> None:
        """Say one line beside it."""
        ...

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        ...


def show_progress(out: Output) -> Shower:
    """Choose what suits the stream that people read; the options are those of the command."""
    if _is_set("quiet") or not sys.stderr.isatty():
        return Lines(out.say)
    from rich.console import Console

    from pool_ctl.commands.progress.bars import Bars

    console = Console(stderr=True, no_color=_is_set("no_color") or None)
    if console.is_dumb_terminal:
        return Lines(out.say)
    return Bars(console)


class Lines:
    """Plain lines, few of them."""

    def __init__(
        self,
        say: Callable[[str], None],
        monotonic_s: Callable[[], float] = _CLOCK.monotonic_s,
    ) -> None:
        self._say = say
        self._monotonic_s = monotonic_s
        self._speed = Speed()
        self._lines = ProgressLines()

    def show(self, moment: Moment) -> None:
        """Say it, if it is news."""
        now_s = self._monotonic_s()
        line = self._lines.feed(self._speed.measure(moment, now_s), now_s)
        if line is not None:
            self._say(cell(line))

    def say(self, text: str) -> None:
        """Say a line like any other."""
        self._say(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def _is_set(option: str) -> bool:
    return bool(click.get_current_context().params.get(option))
