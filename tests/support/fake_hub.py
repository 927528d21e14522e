"""A hub of models on the loopback, over real sockets, that fails as its script says.

It has two origins: the hub, which knows repositories and who may read them, and a CDN, to which the
hub sends whoever wants a large file by a signed link. Both log every request.
"""

import contextlib
import hashlib
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.fake_hub_contents import Entry, Generated, Repository
from support.fake_hub_faults import Faults, Seen, SeenLog
from support.fake_hub_serving import Handler

__all__ = ["FakeHub", "Generated", "Seen"]

_POLL_S = 0.01
_SECRET = b"only this hub can sign"

Source = bytes | Path | Generated


class FakeHub:
    """Serves repositories until its block ends; redirects=False sends large files itself.

    With a token, private and gated repositories open to it, and every other token is wrong.
    """

    def __init__(
        self, *, redirects: bool = True, token: str | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.address = address
        self.redirects = redirects
        self.token = token
        self.faults = Faults()
        self.page_size = 1000
        """How many files one page of a listing holds."""

        self.rewrite: Callable[[str, Any], Any] | None = None
        """Changes the JSON of an answer: takes the path of the request and the honest answer."""

        self.relocate: Callable[[str], str] | None = None
        """Changes where the CDN link of an answer leads."""

        self.renamed: dict[str, str] = {}
        """The new names of repositories by their old ones."""

        self._log = SeenLog()
        self._repos: dict[str, Repository] = {}
        self._contents: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._links = itertools.count(1)
        self._first_valid_link = 0
        self._servers: tuple[_Server, ...] = ()
        self._threads: list[threading.Thread] = []
        self.url = ""
        self.cdn_url = ""

    def __enter__(self) -> Self:
        hub, cdn = _Server(self, "hub"), _Server(self, "cdn")
        self._servers = (hub, cdn)
        self.url, self.cdn_url = hub.url, cdn.url
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.faults.let_go()
        for server in self._servers:
            server.end()
        for thread in self._threads:
            thread.join()
        self._servers, self._threads = (), []

    def add(
        self,
        repo: str,
        files: Mapping[str, Source],
        *,
        gated: bool = False,
        private: bool = False,
        license: str | None = "mit",  # noqa: A002 - the word of the hub
        accepted: bool = True,
    ) -> str:
        """Make a repository and return its commit.

        A gated one opens to the hub's token if its owner has accepted the terms.
        """
        made = Repository(repo, gated, private, accepted, license)
        return self._commit(made, {path: Entry.of(path, data) for path, data in files.items()})

    def change(self, repo: str, path: str, data: Source | None) -> str:
        """Make a new commit with other content of one file, or without it; main moves there."""
        made = self._repos[repo]
        entries = dict(made.commits[made.branches["main"]])
        entries.pop(path, None)
        if data is not None:
            entries[path] = Entry.of(path, data)
        return self._commit(made, entries)

    def rename(self, repo: str, name: str) -> None:
        """Give a repository another name; whoever asks for the old one is sent on."""
        made = self._repos.pop(repo)
        made.name = name
        self._repos[name] = made
        self.renamed[repo] = name

    def tag(self, repo: str, name: str) -> None:
        """Give the present commit of main a name that stays."""
        made = self._repos[repo]
        made.tags[name] = made.branches["main"]

    def file_url(self, repo: str, path: str, revision: str = "main") -> str:
        """Where the hub offers a file."""
        return f"{self.url}/{repo}/resolve/{revision}/{path}"

    def sha256(self, repo: str, path: str) -> str:
        """The hash of a file on main."""
        made = self._repos[repo]
        return made.commits[made.branches["main"]][path].sha256

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in the order of arrival."""
        return self._log.all()

    def forget_requests(self) -> None:
        """Begin a new log."""
        self._log.clear()

    def sent_bytes(self, path: str, *, repo: str | None = None) -> int:
        """How many bytes of the content of a file were sent, over both origins."""
        asked = (seen for seen in self.requests if seen.file == path)
        return sum(seen.sent_bytes for seen in asked if repo in (None, seen.repo))

    def wait_for(self, predicate: Callable[[Seen], bool], timeout_s: float = 10.0) -> Seen:
        """Block until a request is as wanted, also one that is still being answered."""
        return self._log.wait_for(predicate, timeout_s)

    def expire_issued_links(self) -> None:
        """Let every CDN link that was given out until now lead to a 403."""
        with self._lock:
            self._first_valid_link = next(self._links)

    def repository(self, name: str) -> Repository | None:
        """The repository of that name."""
        return self._repos.get(name)

    def large_file(self, sha256: str) -> Entry | None:
        """The content that the CDN keeps under a hash."""
        return self._contents.get(sha256)

    def signed_link(self, repo: str, entry: Entry) -> str:
        """A link to a large file that works until it expires."""
        with self._lock:
            number = next(self._links)
        file = f"{repo}/{entry.path}"
        sign = _signature(entry.sha256, file, number)
        link = f"{self.cdn_url}/cdn/{entry.sha256}/{file}?Expires={number}&Signature={sign}"
        return self.relocate(link) if self.relocate is not None else link

    def opens(self, sha256: str, file: str, number: str, sign: str) -> bool:
        """Judge a signed link."""
        if not number.isdecimal() or int(number) < self._first_valid_link:
            return False
        return sign == _signature(sha256, file, int(number))

    @property
    def log(self) -> SeenLog:
        """Where the handlers note what they see."""
        return self._log

    def _commit(self, made: Repository, entries: dict[str, Entry]) -> str:
        for entry in entries.values():
            if entry.is_large:
                self._contents[entry.sha256] = entry
        commit = made.commit(entries)
        self._repos[made.name] = made
        return commit


def _signature(sha256: str, file: str, number: int) -> str:
    told = f"{sha256} {file} {number}".encode()
    return hashlib.sha256(_SECRET + told).hexdigest()[:32]


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, hub: FakeHub, leg: str) -> None:
        handler = type("BoundHandler", (Handler,), {"hub": hub, "leg": leg})
        super().__init__((hub.address, 0), handler)
        self._open: set[Any] = set()
        self._guard = threading.Lock()
        self.url = f"http://{hub.address}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        """Stop listening and cut every connection, also those that clients keep for later."""
        self.shutdown()
        with self._guard:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away; every other failure is the test's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
