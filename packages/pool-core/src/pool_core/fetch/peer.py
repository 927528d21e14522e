"""One other pool as a source of files and of their records, for the time of one pull.

Its certificate is pinned, its key goes to it alone, no redirect is followed, no proxy is asked.
"""

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from pydantic import ValidationError

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.pool import Peer
from orchestrator_core.contracts.sharing import SharedModel, SharedModelList
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal
from orchestrator_core.units import KIB, MIB
from pool_core.fetch.errand import Stop
from pool_core.fetch.faults import Cause, peer_error
from pool_core.fetch.peer_rules import fault_of_answer, is_busy, is_passing, no_of
from pool_core.fetch.settings import PeerTimes, WebSettings
from pool_core.fetch.sources import Body, Wanted
from pool_core.fetch.web import Reply, Web

__all__ = ["PeerSource"]

_RECORDS_MAX_BYTES: Final = 4 * MIB
_PIECE_BYTES: Final = 256 * KIB
_OK: Final = 200
_NOT_FOUND: Final = 404
_KEY_REFUSED: Final = (401, 403)
_COME_AGAIN_S: Final = 2


class PeerSource:
    """One peer; its connections stay open until it is closed."""

    def __init__(self, peer: Peer, clock: Clock, times: PeerTimes, stop: Stop) -> None:
        self.pool_id = peer.pool_id
        self.name = f"peer {peer.pool_id}"
        self.note: str | None = f"from {self.name}"
        self.is_only_way = False
        """Without a hub that could do better, a slow peer is good enough."""

        self._url = peer.url.rstrip("/")
        self._clock = clock
        self._times = times
        settings = WebSettings(
            endpoint=self._url,
            is_named=True,
            token=peer.key,
            certificate=peer.certificate,
            follows_redirects=False,
            connect_timeout_s=times.connect_s,
            read_timeout_s=times.read_s,
        )
        self._web = Web.open(settings, stop=stop)

    def holds(self, file: Wanted) -> bool:
        """Whether it serves a content of just this size; raises PeerError."""
        reply = self._web.head(self._url_of(file))
        if reply.status == _NOT_FOUND:
            return False
        _check(reply)
        return reply.headers.get("content-length") == str(file.size_bytes)

    def records(self, text: str) -> list[SharedModel]:
        """What it holds under a name or a reference; raises PeerError."""
        url = f"{self._url}/peer/models?model={quote(text, safe='')}"
        reply = self._web.get(url, max_bytes=_RECORDS_MAX_BYTES)
        _check(reply)
        try:
            return SharedModelList.model_validate_json(reply.body).items
        except ValidationError as error:
            raise _odd("told what is no list of models") from error

    @contextlib.contextmanager
    def stream(
        self, file: Wanted, *, start: int, if_range: str | None, stop: Stop
    ) -> Generator[Body]:
        """Ask for the bytes from start on; whatever is not exactly that raises PeerError."""
        del if_range
        size_bytes, sha256 = file.size_bytes, file.sha256 or ""
        with self._web.stream(self._url_of(file), start=start, stop=stop) as stream:
            if not is_passing(stream.status):
                _check_free(stream.status)
                fault = fault_of_answer(
                    stream.status,
                    stream.headers,
                    start=start,
                    size_bytes=size_bytes,
                    sha256=sha256,
                )
                if fault is not None:
                    raise _odd(fault, stream.status)
            yield _Watched(stream, self._clock, self._times.slow_s, self._least_bytes)

    def close(self) -> None:
        """Close its connections."""
        self._web.close()

    @property
    def _least_bytes(self) -> int:
        times = self._times
        return times.slow_bytes if self.is_only_way else times.slow_beside_hub_bytes

    def _url_of(self, file: Wanted) -> str:
        return f"{self._url}/blobs/{file.sha256}"


def _check_free(status: int) -> None:
    if is_busy(status):
        line, details = "serves as many as it can", {"cause": Cause.ANSWER.value}
        raise PeerError(Refusal(Code.NO_CAPACITY, line, details, _COME_AGAIN_S))


def _check(reply: Reply) -> None:
    _check_free(reply.status)
    if reply.status != _OK:
        raise _odd(no_of(reply.status), reply.status)


def _odd(fault: str, status: int = _OK) -> PeerError:
    cause = Cause.KEY if status in _KEY_REFUSED else Cause.ANSWER
    return peer_error(Code.UNREACHABLE, fault, cause)


class _Watched:
    """A peer's answer; one that trickles or falls silent is not asked again."""

    def __init__(self, body: Body, clock: Clock, slow_s: float, least_bytes: int) -> None:
        self._body = body
        self._clock = clock
        self._slow_s = slow_s
        self._least_bytes = least_bytes
        self.status = body.status
        self.hops = 0
        self.hub_headers: Mapping[str, str] = {}
        # The hash says which content it is. A name of its version would be held against the hub's.
        self.headers: Mapping[str, str] = {
            name: value for name, value in body.headers.items() if name != "etag"
        }

    @property
    def host(self) -> str:
        """Who answers."""
        return self._body.host

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come, many records of TLS at a time: each write to a disk costs."""
        held = bytearray()
        try:
            for piece in self._pieces():
                held += piece
                if len(held) >= _PIECE_BYTES:
                    yield bytes(held)
                    held.clear()
        except LlorchError:
            # What came before it broke off counts.
            if held:
                yield bytes(held)
            raise
        if held:
            yield bytes(held)

    def _pieces(self) -> Iterator[bytes]:
        due_s, come = self._clock.monotonic_s() + self._slow_s, 0
        try:
            for piece in self._body.chunks():
                yield piece
                come += len(piece)
                now_s = self._clock.monotonic_s()
                if now_s >= due_s:
                    if come < self._least_bytes:
                        raise peer_error(Code.TIMEOUT, "is too slow", Cause.ANSWER)
                    due_s, come = now_s + self._slow_s, 0
        except PeerError as error:
            if error.refusal.details.get("cause") != Cause.SILENCE:
                raise
            raise peer_error(Code.TIMEOUT, "sends nothing any more", Cause.ANSWER) from error
