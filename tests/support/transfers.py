"""Downloads of one file from a fake hub for tests, and a child process that can be killed in one.

Run as a module it fetches one file: python -m support.transfers URL SIZE SHA256 FOLDER. With --die
CONTENT it does so in forked children, each of which dies at the next one of the calls that change
the disk; with --limit BYTES no file can grow beyond that.
"""

import hashlib
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Refusal
from orchestrator_core.testing.clocks import FakeClock
from pool_core.fetch.partial import PartialPaths
from pool_core.fetch.room import Reserve
from pool_core.fetch.settings import HubSettings, WebSettings
from pool_core.fetch.transfer import Transfer, TransferNews
from pool_core.fetch.web import Web
from support.deaths import die_at, in_a_child
from support.fake_hub import FakeHub, Seen

__all__ = ["REPO", "File", "Site", "noise"]

REPO = "acme/tiny"
NO_RESERVE = Reserve(min_bytes=0, share=0.0)


@dataclass(frozen=True)
class File:
    """A file as a listing names it."""

    path: str
    size_bytes: int
    sha256: str | None
    url: str


def noise(size_bytes: int, seed: str = "noise") -> bytes:
    """Bytes of which no two parts are alike."""
    blocks = (hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(size_bytes // 32 + 1))
    return b"".join(blocks)[:size_bytes]


@dataclass
class Site:
    """A folder that files are fetched into, in time that passes only while somebody rests."""

    hub: FakeHub
    folder: Path
    news: list[TransferNews] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    cancel: threading.Event = field(default_factory=threading.Event)
    rests_s: list[float] = field(default_factory=list)
    tell: Callable[[TransferNews], None] | None = None
    token: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        env = {"HF_ENDPOINT": self.hub.url, "HOME": str(self.folder)}
        if self.token is not None:
            env["HF_TOKEN"] = self.token
        self.web = Web.open(HubSettings.from_env(env).web)
        return self

    def __exit__(self, *_: object) -> None:
        self.web.close()

    def offer(self, content: bytes, path: str = "tiny-Q4_K_M.gguf", **rights: bool) -> File:
        """Put a file on the hub and name it by its commit."""
        commit = self.hub.add(REPO, {path: content}, **rights)
        url = self.hub.file_url(REPO, path, commit)
        return File(path, len(content), hashlib.sha256(content).hexdigest(), url)

    def into(self, file: File) -> Path:
        """The name that the whole file gets."""
        return self.folder / "blobs" / (file.sha256 or "unnamed")

    def paths(self, file: File) -> PartialPaths:
        """Where its part lies."""
        return PartialPaths(self.folder / "partial", file.sha256 or "")

    def begun(self, file: File, content: bytes) -> None:
        """Leave behind what an earlier transfer has brought."""
        part = self.paths(file).part
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)

    def fetch(self, file: File) -> Path | Refusal:
        """Fetch it in fake time."""
        transfer = Transfer(
            self.web,
            folder=self.folder,
            clock=self.clock,
            pause=self._pause,
            dice=lambda: 0.5,
            **{"reserve": NO_RESERVE, **self.options},
        )
        return transfer.fetch(file, into=self.into(file), tell=self._hear, cancel=self.cancel)

    def content_requests(self) -> list[Seen]:
        """The requests that reached the content."""
        return [seen for seen in self.hub.requests if seen.leg == "cdn"]

    def stages(self) -> list[DownloadStage]:
        """The stages in their order, each told once per stay."""
        stages = [news.stage for news in self.news]
        return [now for before, now in zip([None, *stages], stages, strict=False) if before != now]

    def notes(self) -> str:
        """All that was told to a person."""
        return "\n".join(news.note for news in self.news if news.note)

    def _hear(self, news: TransferNews) -> None:
        self.news.append(news)
        if self.tell is not None:
            self.tell(news)

    def _pause(self, seconds: float) -> None:
        self.rests_s.append(seconds)
        self.clock.advance(seconds)


def fetch_plainly(file: File, folder: Path, *, ready: Callable[[], None] = lambda: None) -> int:
    """Fetch it as a command would; 0 when it is there."""
    endpoint = file.url.partition(f"/{REPO}/")[0]
    with Web.open(WebSettings(endpoint=endpoint, is_named=True)) as web:
        transfer = Transfer(web, folder=folder, reserve=NO_RESERVE)
        into = folder / "blobs" / str(file.sha256)
        ready()
        result = transfer.fetch(file, into=into, tell=_say, cancel=threading.Event())
    if isinstance(result, Refusal):
        print(f"{result.code}: {result.message}", flush=True)
        return 1
    return 0


def _say(news: TransferNews) -> None:
    if news.note:
        print(news.note, flush=True)


def _fault(file: File, folder: Path, content: bytes) -> str | None:
    into, paths = (
        folder / "blobs" / str(file.sha256),
        PartialPaths(folder / "partial", str(file.sha256)),
    )
    if into.exists() and into.read_bytes() != content:
        return "a damaged file has its name"
    if paths.part.exists() and not content.startswith(paths.part.read_bytes()):
        return "the part is no beginning of the file"
    return None


def _die_everywhere(file: File, folder: Path, content: bytes) -> int:
    """Die at the first call, the second, and so on; after each death look, and fetch the rest."""
    for call in range(1, 400):
        home = folder / str(call)

        def doomed(home: Path = home, call: int = call) -> int:
            return fetch_plainly(file, home, ready=lambda: die_at(call))

        code = in_a_child(doomed)
        fault = _fault(file, home, content)
        again = in_a_child(lambda home=home: fetch_plainly(file, home))
        print(f"{call} {code} {fault} {again}", flush=True)
        if fault is not None or again != 0 or _fault(file, home, content) is not None:
            return 1
        if code == 0:
            return 0
    return 1


def _limit_files(size_bytes: int) -> None:
    """Let the kernel refuse to write files beyond a size, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def main(argv: list[str]) -> int:
    """Fetch once; die everywhere where the content is named; on a small disk where a limit is."""
    url, size, sha256, folder = argv[:4]
    file = File("tiny.gguf", int(size), sha256, url)
    match argv[4:]:
        case ["--die", content]:
            return _die_everywhere(file, Path(folder), Path(content).read_bytes())
        case ["--limit", size_bytes]:
            _limit_files(int(size_bytes))
        case _:
            pass
    return fetch_plainly(file, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
