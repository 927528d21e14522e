"""How drills are run (--reps N, --seed N, --full), and acts of violence against one home."""

import array
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Generator
from pathlib import Path

import httpx
import psutil
import pytest

from support.home import Home
from support.waiting import until_sync
from support.worker_process import deltas

__all__ = [
    "FrozenStream",
    "frozen_in_mid_stream",
    "full",
    "is_alive",
    "kill",
    "listed",
    "sleeper",
]

_FREEZE_TRIES = 40
_LONG = "Count to one hundred"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a drill be repeated, and be run with its full figures."""
    parser.addoption("--reps", type=int, default=1, help="how often each fault drill is repeated")
    parser.addoption("--seed", type=int, default=1, help="the number of the first repetition")
    parser.addoption(
        "--full",
        action="store_true",
        help="run drills with the figures that are promised, not with the smaller ones of the suite",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for its repetition is run as often as was asked for."""
    if "repetition" in metafunc.fixturenames:
        option = metafunc.config.option
        metafunc.parametrize("repetition", range(option.seed, option.seed + option.reps))


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether a drill takes its full figures; the suite is content with smaller ones."""
    return bool(pytestconfig.getoption("--full"))


def listed(home: Home) -> dict[str, dict[str, object]]:
    """What the running daemon says of its workers, by id; asked directly, because it is timed."""
    key = (home.state / "pool" / "pool.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{home.pool_url}/workers", headers=headers, timeout=10, trust_env=False)
    return {item["id"]: item for item in answer.json()["items"]}


def is_alive(pid: object) -> bool:
    """True for a process that runs or is frozen, false for a zombie."""
    assert isinstance(pid, int)
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def kill(pid: object) -> None:
    """End a process as a power cut would, and wait until it is gone."""
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not is_alive(pid), what=f"the end of process {pid}")


@contextlib.contextmanager
def sleeper(**env: str) -> Generator[psutil.Process]:
    """An innocent process that leads a session of its own and must still live at the end."""
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(
        argv, env={"PATH": os.environ["PATH"], **env}, start_new_session=True
    ) as process:
        try:
            yield psutil.Process(process.pid)
            assert process.poll() is None, "the innocent process was ended"
        finally:
            process.kill()


class FrozenStream:
    """A client that reads a worker's answer, and the worker stopped in the middle of it."""

    def __init__(self, worker: dict[str, object], key: str) -> None:
        self._worker = psutil.Process(int(str(worker["pid"])))
        self._url = f"http://127.0.0.1:{worker['port']}/v1/chat/completions"
        self._key = key
        self._pieces: list[str] = []
        self._begun = threading.Event()
        self._socket: socket.socket | None = None
        self._fault: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)

    def freeze(self) -> bool:
        """Ask, and stop the worker at its first words; False when it was faster than us."""
        self._reader.start()
        assert self._begun.wait(30), "no answer began"
        self._worker.suspend()
        until_sync(
            lambda: self._worker.status() == psutil.STATUS_STOPPED, what="the worker to be frozen"
        )
        # What had left the worker before it stopped is taken in first.
        until_sync(lambda: not self._reader.is_alive() or self._is_dry(), what="a dry socket")
        return self._reader.is_alive()

    @property
    def text(self) -> str:
        """What the client has read so far."""
        return "".join(self._pieces)

    def _is_dry(self) -> bool:
        if self._socket is None:
            return False
        waiting = array.array("i", [0])
        try:
            fcntl.ioctl(self._socket, termios.FIONREAD, waiting)
        except OSError:
            # The reader closed it: then it has ended, or is about to.
            return False
        return waiting[0] == 0

    def thaw(self) -> str:
        """Let the worker go on and return the whole answer, unbroken."""
        self._worker.resume()
        self._reader.join(60)
        assert not self._reader.is_alive(), "the stream did not end"
        assert not self._fault, self._fault
        return self.text

    def _read(self) -> None:
        body = {
            "messages": [{"role": "user", "content": _LONG}],
            "temperature": 0,
            "max_tokens": 700,
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            with httpx.stream(
                "POST", self._url, json=body, headers=headers, timeout=120, trust_env=False
            ) as answer:
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                for piece in deltas(answer.iter_lines()):
                    self._pieces.append(piece)
                    self._begun.set()
        except httpx.HTTPError as error:
            self._fault.append(f"{type(error).__name__}: {error}")
            self._begun.set()


def frozen_in_mid_stream(home: Home, worker: dict[str, object], whole: str) -> FrozenStream:
    """Freeze a worker in the middle of a long answer; it is fast, so it may take a few tries."""
    key = (home.state / "pool" / "workers" / f"{worker['id']}.key").read_text("utf-8").strip()
    for _ in range(_FREEZE_TRIES):
        stream = FrozenStream(worker, key)
        if stream.freeze() and len(stream.text) < len(whole):
            return stream
        stream.thaw()
    raise AssertionError(f"the answer was over before the worker was frozen, {_FREEZE_TRIES} times")


def forge_record(home: Home, worker_id: str, **changes: object) -> Path:
    """Rewrite what the ledger says of a worker."""
    path = home.state / "pool" / "workers" / f"{worker_id}.json"
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | changes), "utf-8")
    return path
