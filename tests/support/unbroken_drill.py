"""An answer of the real engine, held at any point of it: its worker lives for milliseconds only.

A worker is stopped before it is asked, and then runs in pulses of one to three milliseconds until
the client holds the wanted share. So a kill always meets the middle of the answer.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import openai
import psutil

from support.cutting_proxy import CuttingProxy
from support.events import RawEvent, api, events_of, text_of
from support.faults import listed
from support.home import Home
from support.waiting import until_sync

__all__ = [
    "LONG",
    "Asked",
    "EventReader",
    "Pulser",
    "SdkReader",
    "WholeCall",
    "killed_at",
    "newest",
]

LONG = "Count to one hundred"
_PULSE_S = (0.001, 0.003)
_PULSES = 2000
_TRIES = 10
# A stored job's text is written in groups: so long nothing may have come.
_QUIET_LOOKS = 8
_OVER_S = 60.0


class Asked(ABC):
    """A client in a thread of its own, and what it holds so far."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Send the question."""
        self._thread.start()

    @property
    @abstractmethod
    def size(self) -> int:
        """How much the client holds, in characters."""

    def over(self) -> None:
        """Wait for the end."""
        self._thread.join(_OVER_S)
        assert not self._thread.is_alive(), "the answer did not end"

    def _run(self) -> None:
        try:
            self._read()
        except Exception as fault:  # noqa: BLE001 - the test judges it.
            self.fault = fault

    @abstractmethod
    def _read(self) -> None: ...


Client = TypeVar("Client", bound=Asked)


class SdkReader(Asked):
    """A stream, read by OpenAI's own client through a proxy."""

    def __init__(self, home: Home, seed: int | None, **fields: Any) -> None:
        super().__init__()
        address = urlsplit(home.url)
        assert address.hostname is not None
        assert address.port is not None
        self.proxy = CuttingProxy(address.hostname, address.port, seed)
        self.usage: dict[str, int] = {}
        self.reasons: list[str] = []
        self.names: set[tuple[str, str]] = set()
        self._key = home.key
        self._fields = fields
        self._pieces: list[str] = []

    @property
    def held(self) -> str:
        """The text that the client holds."""
        return "".join(self._pieces)

    @property
    def size(self) -> int:
        """How much that is."""
        return len(self.held)

    @property
    def is_done(self) -> bool:
        """Whether the stream has said that nothing follows."""
        return b"data: [DONE]\n\n" in self.proxy.seen

    def _read(self) -> None:
        with (
            self.proxy,
            openai.DefaultHttpxClient(trust_env=False, timeout=_OVER_S) as http,
            openai.OpenAI(
                base_url=f"{self.proxy.url}/v1", api_key=self._key, http_client=http, max_retries=0
            ) as client,
        ):
            stream = client.chat.completions.create(
                model="tiny-chat",
                messages=[{"role": "user", "content": LONG}],
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
                **self._fields,
            )
            for chunk in stream:
                self.names.add((chunk.id, chunk.model))
                for choice in chunk.choices:
                    self._pieces.append(choice.delta.content or "")
                    self.reasons += [choice.finish_reason] if choice.finish_reason else []
                if chunk.usage is not None:
                    self.usage = chunk.usage.model_dump(include=_COUNTS)


_COUNTS = {"prompt_tokens", "completion_tokens", "total_tokens"}


class EventReader(Asked):
    """A stored job, read by its events."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.events: list[RawEvent] = []
        self._home = home

    @property
    def held(self) -> str:
        """The text that the client holds."""
        return text_of(self.events)

    @property
    def size(self) -> int:
        """How much that is."""
        return len(self.held)

    def _read(self) -> None:
        body = {"model": "tiny-chat", "prompt": LONG, "temperature": 0}
        with api(self._home) as client:
            job = client.post("/v2/tasks", json=body).json()["job_id"]
            for event in events_of(client, job):
                self.events.append(event)


class WholeCall(Asked):
    """A call in one piece; its client holds nothing, so what its job is said to have counts."""

    def __init__(self, home: Home, **fields: object) -> None:
        super().__init__()
        self.body: dict[str, Any] = {}
        self._home = home
        self._fields = fields

    @property
    def size(self) -> int:
        """How many tokens the job has."""
        return int(newest(self._home)["tokens_out"])

    def _read(self) -> None:
        message = {"role": "user", "content": LONG}
        body = {"model": "tiny-chat", "messages": [message], "temperature": 0, **self._fields}
        with api(self._home) as client:
            self.body = client.post("/v1/chat/completions", json=body).json()


def newest(home: Home) -> dict[str, Any]:
    """The job that came last, with its attempts."""
    with api(home) as client:
        found = client.get("/v2/tasks", params={"limit": 1}).json()["items"]
        return client.get(f"/v2/tasks/{found[0]['id']}").json() if found else {"id": ""}


def killed_at(
    home: Home, make: Callable[[], Client], *, length: int, share: float, dice: random.Random
) -> Client:
    """Ask, kill the worker when the client holds this share of the answer, and wait for the end.

    On a busy machine a pulse may last too long; then that answer ends well and another is asked for.
    """
    for _ in range(_TRIES):
        asked = make()
        held = _kill_in_mid_answer(home, asked, length, share, dice)
        asked.over()
        if held is not None:
            assert held < length / 2
            print(f"killed when the client held {held} of {length}")
            return asked
        assert asked.fault is None, asked.fault
    raise AssertionError(f"the answer was over before its worker was killed, {_TRIES} times")


def _kill_in_mid_answer(
    home: Home, asked: Asked, length: int, share: float, dice: random.Random
) -> int | None:
    before = newest(home)["id"]
    workers = {name: psutil.Process(int(str(w["pid"]))) for name, w in listed(home).items()}
    for process in workers.values():
        # Who measures out a pulse must not wait for a core until the worker leaves one.
        process.nice(10)
    with _stopped(workers.values()), Pulser() as pulser:
        asked.start()
        busy = workers[_worker_of(home, before)]
        for process in workers.values():
            if process.pid != busy.pid:
                process.resume()
        held = _pulse(pulser, busy.pid, asked, share * length, dice)
        if held >= length / 2:
            return None
        os.kill(busy.pid, signal.SIGKILL)
        return held


@contextlib.contextmanager
def _stopped(processes: Collection[psutil.Process]) -> Generator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.resume()


def _worker_of(home: Home, before: str) -> str:
    def look() -> str | None:
        job = newest(home)
        return job.get("worker_id") if job["id"] != before else None

    found = until_sync(look, what="a worker of the new job")
    assert found is not None
    return found


def _pulse(pulser: "Pulser", pid: int, asked: Asked, wanted: float, dice: random.Random) -> int:
    for _ in range(_PULSES):
        if (size := asked.size) > wanted:
            return size
        pulser.pulse(pid, dice.uniform(*_PULSE_S))
        _settle(asked)
    raise AssertionError(f"after {_PULSES} pulses the client held {asked.size}")


def _settle(asked: Asked) -> None:
    """Wait until what had left the worker has reached the client."""
    seen = [asked.size]

    def is_quiet() -> bool:
        seen.append(asked.size)
        return len(seen) > _QUIET_LOOKS and len(set(seen[-_QUIET_LOOKS:])) == 1

    until_sync(is_quiet, what="a quiet client")


class Pulser:
    """Lets a process run for a moment; a process of its own, since our threads would be in its way."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PULSER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def pulse(self, pid: int, seconds: float) -> None:
        """Let it run for this long; it is stopped again when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{pid} {seconds}\n".encode())
        self._process.stdin.flush()
        self._process.stdout.readline()


_PULSER = """
import os, signal, sys, threading
never = threading.Event()
for line in sys.stdin:
    pid, seconds = line.split()
    os.kill(int(pid), signal.SIGCONT)
    never.wait(float(seconds))
    os.kill(int(pid), signal.SIGSTOP)
    print(flush=True)
"""
