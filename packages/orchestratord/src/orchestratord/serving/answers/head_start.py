"""Carries coroutines without a task of their own, where a task would cost more than the work.

Sending to a client that keeps up waits for nothing, and watching whether it is still there waits
for one thing only.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import cast

__all__ = ["Aside", "Rest", "Step", "begin"]

Step = Coroutine[object, None, None]


def begin(step: Step) -> "Rest | None":
    """Run a coroutine to its first wait at once; None means that it has ended without one."""
    try:
        waits_for = step.send(None)
    except StopIteration:
        return None
    except Exception as problem:  # noqa: BLE001 - it belongs to the task that awaits the rest.
        return Rest(step, None, problem)
    return Rest(step, waits_for, None)


class Rest:
    """What is left of a coroutine that has begun; whoever awaits it carries it to its end."""

    __slots__ = ("_problem", "_step", "_waits_for")

    def __init__(self, step: Step, waits_for: object, problem: Exception | None) -> None:
        self._step = step
        self._waits_for = waits_for
        self._problem = problem

    def __await__(self) -> Generator[object, None, None]:
        """Go on where the first step has stopped."""
        if self._problem is not None:
            raise self._problem
        while True:
            try:
                yield self._waits_for
            except BaseException as problem:  # noqa: BLE001 - a cancellation belongs to the step.
                if self._ends(problem):
                    return
            else:
                if self._ends(None):
                    return

    def _ends(self, problem: BaseException | None) -> bool:
        try:
            if problem is None:
                self._waits_for = self._step.send(None)
            else:
                self._waits_for = self._step.throw(problem)
        except StopIteration:
            return True
        return False


class Aside:
    """A coroutine that goes on whenever what it waits for is there, and tells when it has ended."""

    __slots__ = ("_ended", "_step")

    def __init__(self, step: Step, ended: Callable[[], None]) -> None:
        self._step: Step | None = step
        self._ended = ended
        self._go_on()

    def close(self) -> None:
        """Give it up wherever it waits; nobody is told."""
        if self._step is not None:
            self._step.close()
            self._step = None

    def _go_on(self, _: object = None) -> None:
        if self._step is None:
            return
        try:
            waits_for = self._step.send(None)
        except StopIteration:
            self._step = None
            self._ended()
            return
        if waits_for is None:
            # It only gives way to others.
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            cast("asyncio.Future[object]", waits_for).add_done_callback(self._go_on)
