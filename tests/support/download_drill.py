"""The desk of the download drills: a hub, a home, the real program, and what lies on the disk.

The program runs as a process of its own and is killed as a power cut would; what it asked for is
read from the log of the hub, and what it kept from the folder of the models.
"""

import contextlib
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from orchestrator_core.platforms.files import FileLock
from support.fake_hub import FakeHub, Generated, Seen
from support.gguf_files import gguf_bytes
from support.home import Finished, Home
from support.waiting import until_sync

__all__ = [
    "FILE",
    "MODEL",
    "REPO",
    "SIZE",
    "TOKEN",
    "Download",
    "Drill",
    "Script",
    "content",
    "drill_at",
    "random_steps",
    "start_of",
]

REPO = "acme/drill-GGUF"
FILE = "drill-Q8_0.gguf"
MODEL = f"hf:{REPO}:Q8_0"
SIZE = (4 << 20) + 7
"""No multiple of ten: after ten cuts at every tenth a few bytes are still to come."""
TOKEN = "hf_" + "nobodymaylearnthis" * 2

_PROGRAM = Path(sys.executable).parent / "llorch-pool"
_TESTS = Path(__file__).parents[1]
_END_TIMEOUT_S = 60.0


def content(seed: str = "drill", size_bytes: int = SIZE) -> Generated:
    """A file of a few MiB whose header is that of a sound model."""
    return Generated(size_bytes, gguf_bytes(), seed.encode())


def start_of(seen: Seen) -> int:
    """The first byte that a request asks for."""
    if seen.range is None:
        return 0
    first, _, last = seen.range.removeprefix("bytes=").partition("-")
    assert last == "", f"a download asks for all that is missing, not for {seen.range}"
    return int(first)


class Download:
    """One `models download` that runs; what it says is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def said(self) -> str:
        """Everything on stderr so far."""
        with self._heard:
            return "".join(self._said)

    def hear(self, words: str) -> None:
        """Block until it has said this."""
        with self._heard:
            if not self._heard.wait_for(lambda: words in "".join(self._said), _END_TIMEOUT_S):
                raise AssertionError(f"nobody said {words!r}: {''.join(self._said)}")

    def has_ended(self) -> bool:
        """True once the process is gone."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End it as a power cut would."""
        assert not self.has_ended(), f"it ended by itself: {self.said}"
        self.process.kill()
        self.end()

    def finished(self) -> Finished:
        """Wait for its end by itself."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(_END_TIMEOUT_S)
        self._reader.join()
        return Finished(("llorch-pool", "models", "download"), code, out, self.said)

    def end(self) -> None:
        """See to it that nothing of it is left."""
        if not self.has_ended():
            self.process.kill()
        self.process.wait(_END_TIMEOUT_S)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                with self._heard:
                    self._said.append(line)
                    self._heard.notify_all()


@dataclass
class Script:
    """Faults by the number of a request for the content, counted from 0."""

    hub: FakeHub

    def nth(self, number: int) -> Callable[[Seen], bool]:
        """Fits the request for the content of that number, on its way or answered."""

        def fits(seen: Seen) -> bool:
            asked = contents(self.hub)
            return len(asked) > number and asked[number] is seen

        return fits

    def cut(self, number: int, after_bytes: int) -> None:
        """Close the connection of that request after so many bytes."""
        self.hub.faults.cut_after(after_bytes, when=self.nth(number))

    def hold(self, number: int, after_bytes: int) -> threading.Event:
        """Stop that answer after so many bytes, until the event or the end of the hub."""
        gate = threading.Event()
        self.hub.faults.hold(gate, when=self.nth(number), after_bytes=after_bytes)
        return gate

    def wait(self, number: int, sent_bytes: int) -> None:
        """Block until so many bytes were sent to that request."""
        fits = self.nth(number)
        self.hub.wait_for(lambda seen: fits(seen) and seen.sent_bytes >= sent_bytes, 30.0)


def contents(hub: FakeHub, file: str | None = None) -> list[Seen]:
    """The requests that reached a content, in their order."""
    asked = (seen for seen in hub.requests if seen.leg == "cdn" and seen.method == "GET")
    return [seen for seen in asked if file in (None, seen.file)]


@dataclass
class Drill:
    """One home whose hub is the test's."""

    hub: FakeHub
    home: Home
    models: Path
    running: list[Download] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path, hub: FakeHub) -> Self:
        """Make the home; the hub offers one model."""
        hub.add(REPO, {FILE: content()})
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": ""}
        home = Home(folder / "home", env)
        home.folder.mkdir()
        return cls(hub, home, home.folder / "data" / "models")

    @property
    def script(self) -> Script:
        """What shall go wrong."""
        return Script(self.hub)

    def asked(self, file: str = FILE) -> list[Seen]:
        """The requests for the content of a file."""
        return contents(self.hub, file)

    def starts(self, file: str = FILE) -> list[int]:
        """Where these began."""
        return [start_of(seen) for seen in self.asked(file)]

    def begin(self, model: str = MODEL, *args: str, hasty: bool = False) -> Download:
        """Start the program."""
        program = [sys.executable, "-m", "support.hasty_program"] if hasty else [str(_PROGRAM)]
        process = subprocess.Popen(
            [*program, "models", "download", model, *args],
            env=self._hasty_env() if hasty else self.home.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        download = Download(process)
        self.running.append(download)
        return download

    def download(self, model: str = MODEL, *args: str, hasty: bool = False) -> Finished:
        """Run the program to its end."""
        return self.begin(model, *args, hasty=hasty).finished()

    def part_bytes(self, file: str = FILE, repo: str = REPO) -> int:
        """How much of a file lies here unfinished."""
        path = self._partial(self.hub.sha256(repo, file), ".part")
        return path.stat().st_size if path.exists() else 0

    def wait_for_part(self, size_bytes: int, file: str = FILE, repo: str = REPO) -> None:
        """Block until so much of a file has come to the disk."""
        until_sync(
            lambda: self.part_bytes(file, repo) == size_bytes,
            timeout_s=30,
            what=f"{size_bytes} bytes on the disk",
        )

    def kill_after(self, size_bytes: int) -> int:
        """Start the program and kill it when so much more has come; what lies there then."""
        number, before = len(self.asked()), self.part_bytes()
        self.script.hold(number, size_bytes)
        download = self.begin()
        until_sync(
            lambda: self.part_bytes() == before + size_bytes or download.has_ended(),
            timeout_s=30,
            what=f"{size_bytes} bytes more on the disk",
        )
        download.kill()
        return self.part_bytes()

    def must_be_whole(self, file: str = FILE, repo: str = REPO, model: str = MODEL) -> None:
        """Fail unless the model is here, verified by us, and nothing unfinished is left of it."""
        sha256 = self.hub.sha256(repo, file)
        blob = self.models / "blobs" / sha256
        with blob.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        assert stat.S_IMODE(blob.stat().st_mode) == 0o444
        (name,) = (self.models / "shelf").glob(f"*/{file}")
        assert name.samefile(blob)
        assert [path.suffix for path in self.left_of(sha256)] == [".lock"]
        # The file of a lock stays for ever; what must be gone is its holder.
        lock = FileLock(self._partial(sha256, ".lock"))
        assert lock.try_acquire(), "a lock outlived its download"
        lock.release()
        assert model in self.recorded()

    def must_be_absent(self, file: str = FILE, repo: str = REPO, model: str = MODEL) -> None:
        """Fail if anything has the name of the model, or of the content."""
        assert not (self.models / "blobs" / self.hub.sha256(repo, file)).exists()
        assert not list((self.models / "shelf").glob(f"*/{file}"))
        assert model not in self.recorded()

    def left_of(self, sha256: str) -> list[Path]:
        """The unfinished files of a content."""
        return sorted((self.models / "partial").glob(f"{sha256}*"))

    def recorded(self) -> list[str]:
        """The models that the store has written down: what a list would show, without its costs."""
        records = (self.models / "records").glob("*.json")
        return [json.loads(path.read_bytes())["id"] for path in records]

    def listed(self) -> list[str]:
        """What `models list` shows."""
        told = self.home.pool("models", "list", "--format", "json").must().out
        return [row["id"] for row in json.loads(told)]

    def commands_of(self, download: Download) -> list[list[str]]:
        """The command lines of a program and of all that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(download.process.pid)
            return [it.cmdline() for it in (first, *first.children(recursive=True))]
        return []

    def started_by(self, download: Download) -> list[psutil.Process]:
        """All processes below a program."""
        return psutil.Process(download.process.pid).children(recursive=True)

    def files_with(self, secret: str) -> list[Path]:
        """The files below the home in which a secret stands."""
        found: list[Path] = []
        for folder, _, names in os.walk(self.home.folder):
            for path in (Path(folder) / name for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and secret.encode() in path.read_bytes():
                        found.append(path)
        return found

    def close(self) -> None:
        """Let the hub go on, end everything, and see that nothing is left."""
        self.hub.faults.let_go()
        for download in self.running:
            download.end()
        if (self.home.state / "run").exists():
            self.home.pool("daemon", "stop", "--workers").must()
        until_sync(lambda: not self.home.processes(), what="the end of every process")

    def _hasty_env(self) -> dict[str, str]:
        path = (str(_TESTS), self.home.env.get("PYTHONPATH", ""))
        return {**self.home.env, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def _partial(self, sha256: str, suffix: str) -> Path:
        return self.models / "partial" / f"{sha256}{suffix}"


@contextlib.contextmanager
def drill_at(folder: Path, hub: FakeHub) -> Generator[Drill]:
    """A drill that is cleared away in the end."""
    drill = Drill.at(folder, hub)
    try:
        yield drill
    finally:
        drill.close()


def random_steps(seed: int, count: int) -> list[tuple[str, int]]:
    """Cuts and kills in a random order, each after a random number of bytes; a few MiB in all."""
    chance = random.Random(seed)
    kinds = [chance.choice(("cut", "kill")) for _ in range(count)]
    return [(kind, chance.randrange(1, SIZE // (count + 1))) for kind in kinds]
