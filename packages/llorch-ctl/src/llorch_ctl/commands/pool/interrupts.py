"""What Ctrl-C means while a command runs at a host: the first ends it there, the second leaves."""

import asyncio
import signal
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

import click

__all__ = ["Interrupts"]

T = TypeVar("T")


class Interrupts:
    """Listens while it is entered; stop is set by the first Ctrl-C and by a reader that left."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._patience = asyncio.timeout(None)
        self._asked = False
        self.stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt)
        self._loop.add_signal_handler(signal.SIGTERM, self._leave)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGINT)
        self._loop.remove_signal_handler(signal.SIGTERM)

    async def unless_left(self, work: Awaitable[T]) -> T | None:
        """Do the work, once; None when a person has left it."""
        try:
            async with self._patience:
                return await work
        except TimeoutError:
            if not self._patience.expired():
                raise
            return None

    def _interrupt(self) -> None:
        if not self._asked:
            self._asked = True
            self.stop.set()
            text = f"ending it on {self._host}; Ctrl-C again leaves at once"
        else:
            self._leave()
            text = f"left {self._host}; what still runs there is ended when it misses us"
        click.echo(text, err=True)

    def _leave(self) -> None:
        # A timeout that is due now is the one way to break off a wait that needs no task for it.
        self._patience.reschedule(self._loop.time())
