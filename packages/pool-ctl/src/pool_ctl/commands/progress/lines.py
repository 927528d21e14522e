"""Decides which moments of a long act become a line where no terminal shows a bar: pure."""

from typing import Final

from pool_ctl.commands.progress.moments import Moment, describe, percent

__all__ = ["ProgressLines"]

_EVERY_S: Final = 5.0
_EVERY_PERCENT: Final = 10


class ProgressLines:
    """One line for each stage, file and note, and in between one for every 10 % or 5 s."""

    def __init__(self) -> None:
        self._shown: Moment | None = None
        self._shown_s = 0.0

    def feed(self, moment: Moment, now_s: float) -> str | None:
        """The line for this moment, if it is worth one."""
        if self._shown is not None and not self._is_news(self._shown, moment, now_s):
            return None
        self._shown, self._shown_s = moment, now_s
        return describe(moment)

    def _is_news(self, shown: Moment, moment: Moment, now_s: float) -> bool:
        if _identity(shown) != _identity(moment):
            return True
        before, now = percent(shown) or 0, percent(moment) or 0
        if now // _EVERY_PERCENT > before // _EVERY_PERCENT:
            return True
        return now_s - self._shown_s >= _EVERY_S and moment.done_bytes != shown.done_bytes


def _identity(moment: Moment) -> tuple[object, ...]:
    return (moment.what, moment.stage, moment.file, moment.place, moment.note)
