"""A whole installation in a temporary folder: real daemons, a real worker, the real commands.

A Home owns one LLORCH_HOME with free ports. It is driven only through `llorch` and `llorch-pool`,
and it is closed by `llorch down`, after which no process of it may be left.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import pytest

from support.waiting import until_sync

__all__ = ["Finished", "Home"]

_PROGRAMS = Path(sys.executable).parent
_STARTED_TIMEOUT_S = 60.0
_STOPPED_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended and what it said."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def must(self, code: int = 0) -> Self:
        """Fail with everything the command said unless it ended with this code."""
        shown = " ".join(self.argv)
        assert self.code == code, f"{shown} ended with {self.code}\n{self.out}\n{self.err}"
        return self

    def json(self) -> object:
        """The data that a command printed with --format json."""
        return json.loads(self.out)


class Home:
    """One installation: its folder, its commands, its address and its processes."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.env = {name: v for name, v in os.environ.items() if not name.startswith("LLORCH_")}
        self.env |= {
            "LLORCH_HOME": str(folder),
            "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:0",
            "LLORCH_POOL_BIND": "127.0.0.1:0",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        self.env |= dict(env or {})

    @property
    def state(self) -> Path:
        """Where the daemons keep run files, keys and logs."""
        return self.folder / "state"

    @property
    def key(self) -> str:
        """The admin key that the first start made."""
        return (self.state / "admin.key").read_text("utf-8").strip()

    @property
    def url(self) -> str:
        """The address of the running orchestratord."""
        return str(self.run_file("orchestratord")["url"])

    @property
    def pool_url(self) -> str:
        """The address of the running pool-managerd."""
        return str(self.run_file("pool-managerd")["url"])

    def run_file(self, daemon: str) -> dict[str, object]:
        """What a daemon wrote about itself when it began to listen."""
        return json.loads((self.state / "run" / f"{daemon}.json").read_text("utf-8"))

    def pid(self, daemon: str) -> int:
        """The process id of a running daemon."""
        pid = self.run_file(daemon)["pid"]
        assert isinstance(pid, int)
        return pid

    def log(self, daemon: str) -> str:
        """Everything that a daemon has logged so far."""
        path = self.state / "log" / f"{daemon}.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def llorch(self, *args: str, timeout_s: float = 60.0) -> Finished:
        """Run one `llorch` command to its end."""
        return self._run("llorch", args, timeout_s)

    def pool(self, *args: str, timeout_s: float = 60.0) -> Finished:
        """Run one `llorch-pool` command to its end."""
        return self._run("llorch-pool", args, timeout_s)

    def _run(self, program: str, args: tuple[str, ...], timeout_s: float) -> Finished:
        argv = (str(_PROGRAMS / program), *args)
        done = subprocess.run(
            argv,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished((program, *args), done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def running(self, *args: str, program: str = "llorch") -> Generator[subprocess.Popen[str]]:
        """Run a command beside the test, its stdout line by line, and end it with the block."""
        argv = (str(_PROGRAMS / program), *args)
        with subprocess.Popen(
            argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def start(self) -> Self:
        """Bring home mode up; returns once a question can be asked."""
        self.llorch("up", timeout_s=_STARTED_TIMEOUT_S).must()
        return self

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started for this folder, workers included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def workers(self) -> list[psutil.Process]:
        """The living worker processes of this folder."""
        return [process for process in self.processes() if self._runs(process, "llorch-worker")]

    def _runs(self, process: psutil.Process, program: str) -> bool:
        with contextlib.suppress(psutil.Error):
            return any(Path(word).name == program for word in process.cmdline()[:2])
        return False

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                return process.environ().get("LLORCH_HOME") == str(self.folder)
        return False

    def close(self) -> None:
        """Bring everything down; fails, after killing the rest, if a process was left."""
        try:
            if (self.state / "run").exists():
                self._thaw()
                self.llorch("down", timeout_s=_STOPPED_TIMEOUT_S + 30.0).must()
            until_sync(
                lambda: not self.processes(),
                timeout_s=_STOPPED_TIMEOUT_S,
                what=f"the end of every process of {self.folder.name}",
            )
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def _thaw(self) -> None:
        # A test that failed half-way may have left a worker frozen; it could not even hear TERM.
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()


@pytest.fixture
def empty_home(tmp_path: Path) -> Iterator[Home]:
    """An installation that nobody has started yet."""
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    yield home
    home.close()


@pytest.fixture
def home(empty_home: Home) -> Home:
    """A running installation."""
    return empty_home.start()
