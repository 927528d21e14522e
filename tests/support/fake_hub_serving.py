"""How a fake hub answers: the routes of the hub and of its CDN, ranges, rights and errors."""

import contextlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from support.fake_hub_contents import Content, Entry, Repository
from support.fake_hub_faults import Kind, Leg, Rule, Seen

if TYPE_CHECKING:
    from support.fake_hub import FakeHub

__all__ = ["Handler"]

_API = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<verb>revision|tree|paths-info|refs)(?:/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?)?"
)
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_SMALL = re.compile(
    r"/api/resolve-cache/models/(?P<repo>[^/]+/[^/]+)/(?P<revision>[^/]+)/(?P<path>.+)"
)
_CDN = re.compile(r"/cdn/(?P<sha256>[0-9a-f]{64})/(?P<file>.+)")
_RANGE = re.compile(r"bytes=(?P<start>\d*)-(?P<end>\d*)")
_PAGE = b"<!doctype html><html><body><h1>Welcome to the guest network</h1></body></html>"
_EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
_BAD_TOKEN = "Invalid credentials in Authorization header"


class Handler(BaseHTTPRequestHandler):
    """One connection to one of the two origins."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: "FakeHub"
    leg: Leg
    seen: Seen

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(b"")

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a question that has a body of its own."""
        self._answer(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""

    def _answer(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Seen(
            method=self.command,
            path=self.path,
            leg=self.leg,
            range=headers.get("range"),
            authorization=headers.get("authorization"),
            headers=headers,
        )
        path = urlsplit(self.path).path
        self._name_file(path)
        self.hub.log.add(self.seen)
        rule = self.hub.faults.take(Kind.STATUS, self.seen)
        if rule is not None:
            self._bare(rule)
        elif self.leg == "cdn":
            self._cdn(path)
        else:
            self._hub(path, body)
        self.hub.log.note(self.seen, ended=True)

    def _name_file(self, path: str) -> None:
        for pattern in (_RESOLVE, _SMALL):
            found = pattern.fullmatch(path)
            if found is not None:
                self.seen.repo, self.seen.file = found["repo"], unquote(found["path"])
                return
        found = _CDN.fullmatch(path)
        if found is not None:
            org, name, file = unquote(found["file"]).split("/", 2)
            self.seen.repo, self.seen.file = f"{org}/{name}", file

    # The hub.

    def _hub(self, path: str, body: bytes) -> None:
        for pattern, act in ((_SMALL, self._small), (_RESOLVE, self._resolve), (_API, self._api)):
            found = pattern.fullmatch(path)
            if found is not None:
                parts = {name: unquote(part or "") for name, part in found.groupdict().items()}
                renamed = self.hub.renamed.get(parts["repo"])
                if renamed is not None:
                    self._redirect(307, self.path.replace(parts["repo"], renamed, 1), {})
                else:
                    act(parts, body)
                return
        self._fail(404, None, "Sorry, we can't find the page you are looking for.")

    def _api(self, parts: dict[str, str], body: bytes) -> None:
        repo = self._readable(parts["repo"], content=False)
        if repo is None:
            return
        revision, verb = parts["revision"] or "main", parts["verb"]
        if verb == "refs":
            self._json(repo.refs())
            return
        commit = repo.resolve(revision)
        if commit is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif verb == "tree":
            self._tree(repo, commit, parts["path"])
        elif verb == "paths-info":
            wanted = _wanted(body)
            files = repo.commits[commit]
            self._json([files[path].in_tree() for path in wanted if path in files])
        else:
            self._json(repo.info(commit, blobs="blobs" in self._query()))

    def _tree(self, repo: Repository, commit: str, folder: str) -> None:
        query = self._query()
        recursive = query.get("recursive", "false").lower() in ("true", "1")
        told = repo.tree(commit, folder, recursive=recursive)
        if folder and not told:
            self._fail(404, "EntryNotFound", f"{folder} does not exist on {commit}")
            return
        start = int(query.get("cursor", "0"))
        page = told[start : start + self.hub.page_size]
        headers: dict[str, str] = {}
        if start + len(page) < len(told):
            kept = "&".join(f"{k}={quote(v)}" for k, v in query.items() if k != "cursor")
            bare = urlsplit(self.path).path
            next_page = f"{self.hub.url}{bare}?{kept}&cursor={start + len(page)}"
            headers["Link"] = f'<{next_page}>; rel="next"'
        self._json(page, headers)

    def _resolve(self, parts: dict[str, str], body: bytes) -> None:
        found = self._find(parts)
        if found is None:
            return
        repo, commit, entry = found
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not entry.is_large:
            if self.hub.redirects:
                place = f"{repo.name}/{commit}/{quote(entry.path)}"
                headers["ETag"] = entry.etag
                self._redirect(307, f"/api/resolve-cache/models/{place}", headers)
            else:
                self._content(entry, headers)
            return
        headers["X-Linked-Etag"] = entry.etag
        headers["X-Linked-Size"] = str(entry.content.size_bytes)
        if self.hub.redirects:
            self._redirect(302, self.hub.signed_link(repo.name, entry), headers)
        else:
            self._content(entry, headers)

    def _small(self, parts: dict[str, str], body: bytes) -> None:
        found = self._find(parts)
        if found is not None:
            self._content(found[2], {"X-Repo-Commit": found[1], "Accept-Ranges": "bytes"})

    def _find(self, parts: Mapping[str, str]) -> tuple[Repository, str, Entry] | None:
        repo = self._readable(parts["repo"], content=True)
        if repo is None:
            return None
        revision, path = parts["revision"], parts["path"]
        commit = repo.resolve(revision)
        if commit is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        entry = repo.commits[commit].get(path)
        if entry is None:
            self._fail(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return None
        return repo, commit, entry

    def _readable(self, name: str, *, content: bool) -> Repository | None:
        """The repository, or an answer why not; the pages of a gated one are open to all."""
        repo, token, sent = self.hub.repository(name), self.hub.token, self.seen.authorization
        known = token is not None and sent == f"Bearer {token}"
        if sent is not None and token is not None and not known:
            self._fail(401, None, _BAD_TOKEN)
        elif repo is None or (repo.private and not known):
            # Whoever has no rights is not told whether it exists.
            if known:
                self._fail(404, "RepoNotFound", "Repository not found")
            else:
                self._fail(401, "RepoNotFound", "Invalid username or password.")
        elif content and repo.gated and not known:
            self._fail(401, "GatedRepo", f"Access to model {name} is restricted.")
        elif content and repo.gated and not repo.accepted:
            self._fail(403, "GatedRepo", f"Access to model {name} is restricted.")
        else:
            return repo
        return None

    # The CDN.

    def _cdn(self, path: str) -> None:
        found = _CDN.fullmatch(path)
        entry = self.hub.large_file(found["sha256"]) if found is not None else None
        if found is None or entry is None:
            self._send(404, {}, b"")
            return
        query, file = self._query(), unquote(found["file"])
        good = self.hub.opens(
            entry.sha256, file, query.get("Expires", ""), query.get("Signature", "")
        )
        if not good or self.hub.faults.take(Kind.EXPIRED, self.seen) is not None:
            self._send(403, {"Content-Type": "application/xml"}, _EXPIRED)
        else:
            self._content(entry, {"Accept-Ranges": "bytes"})

    # What both can do.

    def _content(self, entry: Entry, headers: Mapping[str, str]) -> None:
        if self.hub.faults.take(Kind.HTML, self.seen) is not None:
            self._send(200, {"Content-Type": "text/html; charset=utf-8"}, _PAGE)
            return
        size = entry.content.size_bytes
        told = {**headers, "ETag": entry.etag, "Content-Type": "application/octet-stream"}
        wanted = self._wanted_range(entry)
        if wanted is not None and wanted[0] >= size:
            self._send(416, {**told, "Content-Range": f"bytes */{size}"}, b"")
            return
        start, end = wanted or (0, size)
        told["Content-Length"] = str(end - start)
        if wanted is not None:
            told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(200 if wanted is None else 206, told)
        if self.command != "HEAD":
            self._body(entry.content, start, end)

    def _wanted_range(self, entry: Entry) -> tuple[int, int] | None:
        found = _RANGE.fullmatch(self.seen.range or "")
        if found is None or self.command == "HEAD":
            return None
        if self.hub.faults.take(Kind.IGNORES_RANGE, self.seen) is not None:
            return None
        if self.seen.headers.get("if-range", entry.etag) != entry.etag:
            return None
        size = entry.content.size_bytes
        if not found["start"]:
            return max(0, size - int(found["end"] or 0)), size
        return int(found["start"]), min(size, int(found["end"] or size - 1) + 1)

    def _body(self, content: Content, start: int, end: int) -> None:
        faults, seen = self.hub.faults, self.seen
        drip = faults.take(Kind.DRIP, seen)
        hold = faults.take(Kind.HOLD, seen)
        wrong = faults.take(Kind.WRONG_BYTES, seen)
        cut = faults.take(Kind.CUT, seen, end - start)
        stop = end if cut is None else start + cut.size_bytes
        # One answer is sent in up to two stretches, with the gate of a hold between them.
        pause = min(stop, start + hold.size_bytes) if hold is not None else start
        self._stretch(content, start, pause, drip, wrong)
        if hold is not None and hold.gate is not None:
            faults.pass_gate(hold.gate, closing=False)
        self._stretch(content, pause, stop, drip, wrong)
        if cut is not None:
            self.close_connection = True

    def _stretch(
        self, content: Content, start: int, end: int, drip: Rule | None, wrong: Rule | None
    ) -> None:
        step = drip.size_bytes if drip is not None else 1 << 20
        for piece in content.pieces(start, end, step):
            if drip is not None and drip.gate is not None:
                self.hub.faults.pass_gate(drip.gate, closing=True)
            # Noted first: whoever has received a piece must find it in the log.
            self.hub.log.note(self.seen, more_bytes=len(piece))
            try:
                self.wfile.write(piece if wrong is None else bytes((piece[0] ^ 1,)) + piece[1:])
            except OSError:
                self.hub.log.note(self.seen, more_bytes=-len(piece))
                raise

    def _query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def _json(self, body: Any, headers: Mapping[str, str] | None = None) -> None:
        if self.hub.rewrite is not None:
            body = self.hub.rewrite(self.path, body)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._send(200, {"Content-Type": "application/json", **(headers or {})}, data)

    def _fail(
        self, status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        told = {"Content-Type": "application/json", "X-Error-Message": message, **(headers or {})}
        if code is not None:
            told["X-Error-Code"] = code
        self._send(status, told, json.dumps({"error": message}).encode())

    def _redirect(self, status: int, location: str, headers: Mapping[str, str]) -> None:
        self._send(status, {**headers, "Location": location}, b"")

    def _bare(self, rule: Rule) -> None:
        headers = {} if rule.retry_after is None else {"Retry-After": rule.retry_after}
        self._send(rule.code, headers, b"")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.hub.log.note(self.seen, status=status)
        self.end_headers()


def _wanted(body: bytes) -> list[str]:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return list(json.loads(body)["paths"])
    return parse_qs(body.decode("utf-8", "replace")).get("paths", [])
