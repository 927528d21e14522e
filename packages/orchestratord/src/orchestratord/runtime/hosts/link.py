"""The link to one enrolled host: one SSH connection that is kept up, and the session over it.

Control, orders and token streams all run through that connection. A session that ends is opened
anew over it; the connection is made anew only when it is lost itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import SecretStr

from orchestrator_core.clients.pinned import pinned_context
from orchestrator_core.clients.pins import read_certificate
from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.ids import PoolId
from orchestratord.runtime.enrolments import Enrolments
from orchestratord.runtime.hosts.course import (
    LinkState,
    LinkView,
    Pace,
    after_failure,
    after_refused_word,
    after_word,
    fresh_course,
)
from orchestratord.runtime.hosts.session_feed import Beat, Register, SessionFeed
from orchestratord.store.rows import PoolRow

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["Connect", "Link", "Surroundings"]

_log: Final = structlog.stdlib.get_logger()

_LOOPBACK: Final = "127.0.0.1"
# The daemon does not know our credential: another has joined since, or it has lost the file.
_NOT_LET_IN: Final = frozenset({Code.NO_KEY, Code.BAD_KEY, Code.SCOPE})
# What a port answers that does not speak HTTP, or says that it speaks HTTPS.
_NO_HTTP: Final = frozenset({Code.UNREACHABLE, Code.INVALID_REQUEST})

Connect = Callable[[PoolRow, Path], "Awaitable[SshConnection | Refusal]"]
"""Logs in at a host with our own key, or tells why that is not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all links work with; silence_s: a session without a byte for this long is dead."""

    enrolments: Enrolments
    key_file: Path
    register: Register
    beat: Beat
    connect: Connect
    draw: Callable[[], float]
    pace: Pace = field(default_factory=Pace)
    silence_s: float = 20.0


class Link:
    """Keeps one host reachable until it is cancelled."""

    def __init__(self, row: PoolRow, around: Surroundings) -> None:
        self.pool_id: Final[PoolId] = row.id
        self._row = row
        self._around = around
        self._course = fresh_course()
        self._changed = asyncio.Event()
        self._connection: SshConnection | None = None
        self._feed = SessionFeed(
            row.id,
            register=around.register,
            beat=around.beat,
            on_word=self._take_word,
            on_refused=self._take_refused_word,
        )

    @property
    def view(self) -> LinkView:
        """What a person sees of it."""
        return self._course.view

    @property
    def connection(self) -> "SshConnection | None":
        """The connection, while there is one."""
        return self._connection

    def change(self, row: PoolRow) -> None:
        """Take a changed enrolment; another way to the host means another connection."""
        is_same = _way(row) == _way(self._row) and row.join_token in (None, self._row.join_token)
        self._row = row
        if not is_same:
            # Whatever is not the credential that this link has put there by itself.
            self._course = fresh_course()
            self._changed.set()
            if self._connection is not None:
                self._connection.abort()

    async def run(self) -> None:
        """Connect, use the connection until it is lost, and begin again."""
        while True:
            self._changed.clear()
            try:
                refusal = await self._once()
            except Exception as problem:  # noqa: BLE001 - what one host sends must not end them all.
                _log.exception("link.broken", pool_id=self.pool_id)
                text = f"the link to host {self.pool_id} broke: {problem!r}"
                refusal = Refusal(Code.INTERNAL, text)
            await self._wait_after(refusal)

    async def _once(self) -> Refusal:
        """Connect and use the connection to its end."""
        found = await self._around.connect(self._row, self._around.key_file)
        if isinstance(found, Refusal):
            return found
        if self._changed.is_set():
            # It leads to where the host was, and the new token is not for that one.
            found.abort()
            return Refusal(Code.UNREACHABLE, f"host {self.pool_id} was enrolled anew")
        self._connection = found
        try:
            return await self._use(found)
        finally:
            # Whatever still runs over it hears of it at once.
            self._connection = None
            found.abort()

    async def _use(self, connection: "SshConnection") -> Refusal:
        """Keep a session open over the connection; tell why the connection ended."""
        async with asyncio.TaskGroup() as tasks:
            sessions = tasks.create_task(self._sessions(connection), name=f"session {self.pool_id}")
            reason = await connection.wait_closed()
            sessions.cancel()
        return Refusal(Code.UNREACHABLE, reason)

    async def _sessions(self, connection: "SshConnection") -> None:
        while True:
            self._changed.clear()
            await self._wait_after(await self._session(connection))

    async def _session(self, connection: "SshConnection") -> Refusal:
        """Join if that is still to do, and hold one session to its end."""
        try:
            if self._row.join_token is not None or self._row.credential is None:
                async with self._client(connection, None) as client:
                    await self._join(client)
            async with self._client(connection, self._row.credential) as client:
                await self._feed.carry(client, self._around.silence_s)
        except LlorchError as error:
            refusal = error.refusal
            if refusal.code in _NO_HTTP:
                refusal = await self._look_for_tls(connection) or refusal
            return self._on_host(refusal)
        return self._on_host(Refusal(Code.UNREACHABLE, "its daemon ended the session"))

    def _on_host(self, refusal: Refusal) -> Refusal:
        line = f"on host {self.pool_id}: {refusal.message}"
        if refusal.code in _NOT_LET_IN:
            line += f"; if nobody else enrolled it, enrol it anew: llorch host add {self.pool_id}"
        return replace(refusal, message=line)

    def _client(self, connection: "SshConnection", key: str | None) -> AsyncPoolClient:
        port, scheme, trust = self._row.daemon_port, "http", None
        if self._row.certificate is not None:
            scheme, trust = "https", pinned_context(self._row.certificate)
            if isinstance(trust, Refusal):
                raise error_for(trust)
        transport = connection.http_transport(_LOOPBACK, port, trust=trust)
        return AsyncPoolClient(f"{scheme}://{_LOOPBACK}:{port}", key, transport=transport)

    async def _look_for_tls(self, connection: "SshConnection") -> Refusal | None:
        """See whether a daemon that gave no answer speaks TLS, and pin what it shows at first."""
        row = self._row
        shown = await connection.shown_certificate(_LOOPBACK, row.daemon_port)
        certificate = None if shown is None else read_certificate(shown)
        if certificate is None or isinstance(certificate, Refusal):
            return None
        if row.certificate is None:
            # The tunnel proves whose host this is, as it does for a daemon that speaks plain HTTP.
            fresh = replace(row, certificate=certificate.pem)
            if await self._around.enrolments.amend(row, fresh):
                self._row = fresh
                _log.info("link.pinned", pool_id=self.pool_id, sha256=certificate.sha256)
            return Refusal(
                Code.UNREACHABLE, "its daemon speaks HTTPS: it is spoken to like that now"
            )
        if certificate.pem == row.certificate:
            return None
        name = self.pool_id
        line = f"its daemon shows another certificate than before (SHA-256 {certificate.sha256}); "
        line += f"if that is right: llorch host remove {name}, then llorch host add {name}"
        return Refusal(Code.CONFIG_INVALID, line)

    async def _join(self, client: AsyncPoolClient) -> None:
        row = self._row
        if row.join_token is None:
            line = f"no token to join with is left; enrol it anew: llorch host add {self.pool_id}"
            raise error_for(Refusal(Code.BAD_TOKEN, line))
        joined = await client.join(SecretStr(row.join_token))
        if joined.pool_id != self.pool_id:
            line = f"the pool there is called {joined.pool_id}: one host cannot be two pools"
            raise error_for(Refusal(Code.INVALID_REQUEST, line))
        fresh = replace(row, credential=joined.key.get_secret_value(), join_token=None)
        # Kept before it is used, for once it was used it is not told again.
        if not await self._around.enrolments.amend(row, fresh):
            raise error_for(Refusal(Code.CONFLICT, "it was enrolled anew meanwhile"))
        self._row = fresh
        _log.info("pool.joined", pool_id=self.pool_id)

    def _take_word(self) -> None:
        if self.view.state is not LinkState.UP:
            _log.info("link.up", pool_id=self.pool_id)
            self._course = after_word(self._course)

    def _take_refused_word(self, refusal: Refusal) -> None:
        refusal = self._on_host(refusal)
        before, self._course = self.view, after_refused_word(self._course, refusal)
        self._tell(before, refusal)

    async def _wait_after(self, refusal: Refusal) -> None:
        """Note a failure and wait; a change of the enrolment ends the wait."""
        if self._changed.is_set():
            return
        before = self.view
        self._course, delay_s = after_failure(
            self._course, refusal, draw=self._around.draw(), pace=self._around.pace
        )
        self._tell(before, refusal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._changed.wait()

    def _tell(self, before: LinkView, refusal: Refusal) -> None:
        """Log a failure, unless it is the one before."""
        if self.view != before:
            _log.warning(
                "link.down",
                pool_id=self.pool_id,
                state=self.view.state,
                code=refusal.code,
                reason=refusal.message,
            )


def _way(row: PoolRow) -> tuple[object, ...]:
    return (row.endpoint, row.host_keys, row.daemon_port)
