"""One bar on a terminal, with amount, speed and what is left beside it; always as of now."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from orchestrator_core.clock import SystemClock
from orchestrator_core.console.render import cell
from orchestrator_core.units import format_bytes
from pool_ctl.commands.progress.moments import Moment, Speed, describe_pace

__all__ = ["Bars"]

_LABEL_MAX: Final = 40
_LABEL_MIN: Final = 10
# What amount, pace and a short bar need.
_BESIDE_WIDTH: Final = 56
_CLOCK: Final = SystemClock()


class Bars:
    """Moves with each moment; speed falls by itself where nothing moves any more."""

    def __init__(
        self, console: Console, monotonic_s: Callable[[], float] = _CLOCK.monotonic_s
    ) -> None:
        self._monotonic_s = monotonic_s
        # The screen is drawn in a thread of its own.
        self._lock = threading.Lock()
        self._speed = Speed()
        self._moment: Moment | None = None
        self._task: TaskID | None = None
        self._progress = Progress(
            _Words(lambda: self._spell(lambda moment: _label(moment, console.width))),
            # The bar alone gives way where the terminal is narrow: its line must stay one line.
            BarColumn(),
            _Words(lambda: self._spell(_amount)),
            _Words(lambda: self._spell(describe_pace)),
            _Words(lambda: self._spell(_note), style="dim"),
            console=console,
            transient=True,
        )

    def show(self, moment: Moment) -> None:
        """Move the bar."""
        with self._lock:
            self._moment = self._speed.measure(moment, self._monotonic_s())
        if self._task is None:
            self._task = self._progress.add_task("", total=moment.total_bytes)
        self._progress.update(self._task, total=moment.total_bytes, completed=moment.done_bytes)

    def say(self, text: str) -> None:
        """Say a line above the bar; said in any other way it would be drawn over."""
        self._progress.console.print(Text(text), soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _spell(self, spell: Callable[[Moment], str]) -> str:
        with self._lock:
            if self._moment is None:
                return ""
            self._moment = self._speed.measure(self._moment, self._monotonic_s())
            return spell(self._moment)


class _Words(ProgressColumn):
    """A text that is asked for anew each time the screen is drawn."""

    def __init__(self, tell: Callable[[], str], style: str = "") -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._tell = tell
        self._style = style

    def render(self, task: Task) -> Text:
        """Spell it; what it says is never markup."""
        del task
        return Text(self._tell(), style=self._style)


def _label(moment: Moment, width: int) -> str:
    where = f" ({moment.place})" if moment.place else ""
    # Speed and a moving bar say by themselves that something moves.
    stage = f": {moment.stage}" if moment.moved_bytes is None else ""
    limit = min(_LABEL_MAX, max(_LABEL_MIN, width - _BESIDE_WIDTH - len(where)))
    name = cell(moment.what)
    shown = name if len(name) <= limit else f"{name[: limit - 3]}..."
    return f"{shown}{stage}{where}"


def _amount(moment: Moment) -> str:
    if moment.total_bytes is None:
        return ""
    return f"{format_bytes(moment.done_bytes)} of {format_bytes(moment.total_bytes)}"


def _note(moment: Moment) -> str:
    return cell(moment.note) if moment.note else ""
