"""An answer of a host of the fleet that is held in its middle: its worker stands still.

A worker is stopped before it is asked, and then runs in pulses of milliseconds until its reader
holds the beginning of the answer.
"""

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from support.fleet import Fleet
from support.hub_window import Following
from support.lab_host import LabHost
from support.unbroken_drill import Pulser
from support.waiting import until_sync

__all__ = ["ANSWERS", "LONG", "LONG_ANSWER", "HeldAnswer", "held_answer"]

LONG: Final = "Count to one hundred"
_RECORDED: Final = Path(__file__).with_name("answers.json")
ANSWERS: Final[dict[str, str]] = json.loads(_RECORDED.read_text("utf-8"))["tiny-chat"]
LONG_ANSWER: Final = ANSWERS[LONG]

_PULSE_S: Final = 0.002
_PULSES: Final = 500
_TRIES: Final = 10
# The text of a stored job is written in groups: so many looks long nothing may have come.
_QUIET_LOOKS: Final = 8
_BEGUN: Final = 12


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """A job whose worker has said a part of the answer and stands still."""

    job_id: str
    host: LabHost
    reader: Following
    workers: Sequence[psutil.Process]

    def let_go(self) -> None:
        """Let the worker run again; it may be gone."""
        _resume(self.workers)


@contextlib.contextmanager
def held_answer(fleet: Fleet, pin: str | None = None) -> Generator[HeldAnswer]:
    """Hold an answer of this host, or of whichever host gets the job.

    On a busy machine a pulse may last too long; then that answer ends well and another is asked for.
    """
    hosts = [host for host in fleet.lab if pin in (None, host.name)]
    processes = {host.name: host.named("llorch-worker") for host in hosts}
    everybody = [process for found in processes.values() for process in found]
    try:
        for _ in range(_TRIES):
            for process in everybody:
                process.suspend()
                # Who measures out a pulse must not wait for a core until the worker leaves one.
                process.nice(10)
            held = _begin(fleet, processes, pin)
            if held is not None:
                yield held
                return
        raise AssertionError(f"the answer was over before it could be held, {_TRIES} times")
    finally:
        _resume(everybody)


def _begin(
    fleet: Fleet, processes: dict[str, list[psutil.Process]], pin: str | None
) -> HeldAnswer | None:
    window = fleet.window
    job_id = window.submit(LONG, pin_pool=pin)

    def place() -> str:
        attempts = window.job(job_id)["attempts"]
        return str(attempts[-1]["pool_id"]) if attempts else ""

    host = fleet.lab[until_sync(place, what=f"a host for {job_id}")]
    for name, found in processes.items():
        if name != host.name:
            _resume(found)
    held = HeldAnswer(job_id, host, window.follow(job_id), processes[host.name])
    with Pulser() as pulser:
        for _ in range(_PULSES):
            size = len(held.reader.text)
            if size > _BEGUN:
                return held if size < len(LONG_ANSWER) / 2 else _given_up(held)
            for process in held.workers:
                pulser.pulse(process.pid, _PULSE_S)
            _settle(held.reader)
    raise AssertionError(f"after {_PULSES} pulses of {host.name} its reader holds nothing")


def _given_up(held: HeldAnswer) -> None:
    held.let_go()
    assert held.reader.ended() == LONG_ANSWER


def _settle(reader: Following) -> None:
    """Wait until what had left the worker has reached the reader."""
    seen = [len(reader.text)]

    def is_quiet() -> bool:
        seen.append(len(reader.text))
        return len(seen) > _QUIET_LOOKS and len(set(seen[-_QUIET_LOOKS:])) == 1

    until_sync(is_quiet, what="a quiet reader")


def _resume(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.nice(0)
            process.resume()
