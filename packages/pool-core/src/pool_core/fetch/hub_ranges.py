"""Reads parts of files of a hub, for headers of models that are not downloaded.

Where the hub keeps a file is asked once; its link is used again until it expires.
"""

import re
from typing import Final

from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.hub_refusals import (
    Question,
    is_for_people,
    kept_away,
    page_for_people,
    refusal_of,
)
from pool_core.fetch.streams import Stream
from pool_core.fetch.web import Web

__all__ = ["RangeReader"]

_LINKS_MAX: Final = 64
_EXPIRED: Final = (401, 403, 404, 410)
_RANGE: Final = re.compile(r"bytes (?P<start>[0-9]{1,18})-[0-9]{1,18}/(?P<total>[0-9]{1,18})")


class RangeReader:
    """Remembers where the files of a hub lie; bounded."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._links: dict[str, str] = {}

    def read(self, file: RemoteFile, start: int, end: int, asked: Question) -> bytes | Refusal:
        """The bytes from start to before end, as far as the file goes; raises PeerError."""
        end = min(end, file.size_bytes)
        if start >= end:
            return b""
        link = self._links.pop(file.url, None)
        if link is not None:
            data = self._ask(link, file, start, end, asked)
            if data is not None:
                return data
        data = self._ask(file.url, file, start, end, asked)
        return kept_away(403, asked) if data is None else data

    def _ask(
        self, url: str, file: RemoteFile, start: int, end: int, asked: Question
    ) -> bytes | Refusal | None:
        """The bytes, a refusal, or None for a link that has expired."""
        with self._web.stream(url, start=start, end=end) as stream:
            is_elsewhere = url != file.url or stream.hops > 0
            if is_elsewhere and stream.status in _EXPIRED:
                return None
            if is_elsewhere and stream.status >= 400 and stream.status != 429:
                return kept_away(stream.status, asked)
            refusal = refusal_of(stream.status, stream.headers, asked)
            fault = refusal or _fault(stream, file, start, asked)
            if fault is not None:
                return fault
            data = _take(stream, start if stream.status == 200 else 0, end - start)
            if len(data) < end - start:
                text = f"{asked.place} ended its answer early: try again"
                return Refusal(Code.UNREACHABLE, text, {"repo": asked.repo})
            self._remember(file.url, stream.url)
            return data

    def _remember(self, url: str, link: str) -> None:
        if link == url:
            return
        if len(self._links) >= _LINKS_MAX:
            self._links.clear()
        self._links[url] = link


def _fault(stream: Stream, file: RemoteFile, start: int, asked: Question) -> Refusal | None:
    """Why the answer is not the wanted part of the listed file."""
    if is_for_people(stream.headers):
        return page_for_people(asked)
    total = stream.headers.get("content-length", "")
    begins = 0
    if stream.status == 206:
        found = _RANGE.fullmatch(stream.headers.get("content-range", ""))
        total, begins = (found["total"], int(found["start"])) if found else ("", -1)
    is_right = total == str(file.size_bytes) and begins in (start, 0)
    if is_right and (stream.status == 200 or begins == start):
        return None
    text = f"{file.path} at {asked.place} is not as it was listed: try again"
    return Refusal(Code.UNREACHABLE, text, {"repo": asked.repo})


def _take(stream: Stream, skip: int, count: int) -> bytes:
    """Read no further than needed: closing the answer ends it."""
    data = bytearray()
    for piece in stream.chunks():
        data += piece
        if len(data) >= skip + count:
            break
    return bytes(data[skip : skip + count])
