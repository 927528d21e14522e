"""Asks a hub what a repository holds, and reads the first bytes of files that are not here.

The revision becomes a commit once, and everything after that names the commit. Requests go through
Web, which decides where a token may go; the answers are judged by hub_answers.
"""

import random
import time
from collections.abc import Callable
from itertools import islice
from typing import Final, TypeVar

from orchestrator_core.catalog.reference import Reference
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.units import MIB
from pool_core.fetch.hub_answers import (
    FILES_MAX,
    Listing,
    RemoteFile,
    fault_of_files,
    info_url,
    next_query,
    read_info,
    read_tree,
    tree_url,
)
from pool_core.fetch.hub_cache import HubCache
from pool_core.fetch.hub_ranges import RangeReader
from pool_core.fetch.hub_refusals import (
    Question,
    is_for_people,
    offline,
    page_for_people,
    refusal_of,
    unreachable,
)
from pool_core.fetch.patience import Patience
from pool_core.fetch.settings import HubSettings
from pool_core.fetch.web import Reply, Web

__all__ = ["Hub"]

_ANSWERS_MAX_BYTES: Final = 32 * MIB
_PAGES_MAX: Final = 500
_CACHED_MAX: Final = 1000
_FIRST_PAGE: Final = "recursive=true&expand=false"

T = TypeVar("T")


class Hub:
    """One hub; it blocks, and it holds nothing open but what Web holds."""

    def __init__(
        self,
        web: Web,
        settings: HubSettings,
        *,
        pause: Callable[[float], None] = time.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._web = web
        self._settings = settings
        self._ranges = RangeReader(web)
        self._patience = Patience(pause, dice, web.is_stopped)

    def listing(self, reference: Reference) -> Listing | Refusal:
        """All files of a repository at the commit that the reference means now."""
        repo = reference.repo
        if repo is None:
            raise ValueError(f"{reference.text} names no repository")
        asked = self._question(repo, revision=reference.revision)
        return self._online(lambda: self._listing(asked), asked)

    def access(self, file: RemoteFile) -> Refusal | None:
        """Why the hub would not give us this file; None when it would."""
        asked = self._question_about(file)
        return self._online(lambda: self._access(file, asked), asked)

    def read_start(self, file: RemoteFile, end: int) -> bytes | Refusal:
        """The bytes of a file before end, or all of them if it is shorter."""
        return self.read_range(file, 0, end)

    def read_range(self, file: RemoteFile, start: int, end: int) -> bytes | Refusal:
        """The bytes of a file from start to before end, as far as the file goes."""
        asked = self._question_about(file)
        return self._online(lambda: self._ranges.read(file, start, end, asked), asked)

    def _online(self, ask: Callable[[], T], asked: Question) -> T | Refusal:
        if self._settings.offline:
            cached = HubCache(self._settings.cache_folder).files(asked.repo)
            return offline(asked, sorted({file.path for file in islice(cached, _CACHED_MAX)}))
        try:
            return ask()
        except LlorchError as error:
            return unreachable(error.refusal, asked)

    def _listing(self, asked: Question) -> Listing | Refusal:
        url = info_url(self._settings.endpoint, asked.repo, asked.revision)
        page = self._get(url, _ANSWERS_MAX_BYTES, asked)
        if isinstance(page, Refusal):
            return page
        found = read_info(page.body, revision=asked.revision)
        if isinstance(found, Refusal):
            return found
        files = self._files(asked, found.commit, _ANSWERS_MAX_BYTES - len(page.body))
        if isinstance(files, Refusal):
            return files
        return Listing(asked.repo, found.commit, files, found.license, found.gated)

    def _files(
        self, asked: Question, commit: str, left_bytes: int
    ) -> tuple[RemoteFile, ...] | Refusal:
        endpoint, repo = self._settings.endpoint, asked.repo
        read: list[RemoteFile | None] = []
        query: str | None = _FIRST_PAGE
        for _ in range(_PAGES_MAX):
            page = self._get(f"{tree_url(endpoint, repo, commit)}?{query}", left_bytes, asked)
            if isinstance(page, Refusal):
                return page
            left_bytes -= len(page.body)
            entries = read_tree(page.body, endpoint=endpoint, repo=repo, commit=commit)
            following = next_query(page.headers)
            if isinstance(entries, Refusal):
                return entries
            if isinstance(following, Refusal):
                return following
            read += entries
            query = following
            if query is None or len(read) > FILES_MAX:
                break
        if query is not None or len(read) > FILES_MAX:
            text = f"the repository {repo} lists more than the {FILES_MAX:,} files that are read"
            return Refusal(Code.TOO_LARGE, text, {"repo": repo})
        files = tuple(file for file in read if file is not None)
        return fault_of_files(files) or files

    def _access(self, file: RemoteFile, asked: Question) -> Refusal | None:
        reply = self._patience.reply(lambda: self._web.head(file.url))
        # A redirect is the hub's yes: it sends us to where the file is kept.
        return None if 300 <= reply.status < 400 else refusal_of(reply.status, reply.headers, asked)

    def _get(self, url: str, max_bytes: int, asked: Question) -> Reply | Refusal:
        reply = self._patience.reply(lambda: self._web.get(url, max_bytes=max(0, max_bytes)))
        refusal = refusal_of(reply.status, reply.headers, asked)
        if refusal is None and is_for_people(reply.headers):
            return page_for_people(asked)
        return refusal or reply

    def _question(
        self, repo: str, *, revision: str | None = None, file: str | None = None
    ) -> Question:
        has_token = self._settings.token is not None
        return Question(self._settings.endpoint, repo, revision, file, has_token=has_token)

    def _question_about(self, file: RemoteFile) -> Question:
        repo = file.url.removeprefix(f"{self._settings.endpoint}/").partition("/resolve/")[0]
        return self._question(repo, file=file.path)
