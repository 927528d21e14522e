"""Keeps the pool's session with an orchestrator: register, beat, obey the wanted set.

A thin loop around link.advance, which decides what each reply means. Reports come from the
supervisor and the device watch; the reply's wanted set goes back to the supervisor.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import SecretStr

from orchestrator_core.contracts.pool import (
    Heartbeat,
    ModelReport,
    Peer,
    PoolRegister,
    WantedSet,
)
from orchestrator_core.errors import LlorchError
from orchestrator_core.idgen import IdSource
from pool_managerd.runtime.drain import Draining, only_running
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.link import LinkState, Pace, Step, Verdict, advance, judge
from pool_managerd.runtime.ports import Devices, Models, OrchestratorLink, Workers

__all__ = ["Announcer", "Identity", "LinkView", "NoLink", "Sharing", "Target"]

_log: Final = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Target:
    """How the orchestrator is found, anew for each session, and the file with our key for it.

    Who comes to us by a stream needs no key; there waits until somebody has come.
    """

    find: Callable[[], str | None]
    key_file: Path | None
    there: Callable[[], Awaitable[None]] | None = None


def _nobody_hears(_: Sequence[Peer]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Sharing:
    """The key by which other pools copy models from here, and who hears of those pools."""

    key: SecretStr | None = None
    hear: Callable[[Sequence[Peer]], None] = _nobody_hears


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this pool is; certificate is what its port shows where it speaks TLS."""

    pool_id: str
    endpoint: str
    version: str
    engines: tuple[str, ...]
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class LinkView:
    """What the status page says about the orchestrator."""

    url: str | None = None
    session_id: str = ""
    connected: bool = False


class NoLink:
    """Stands in for the announcer of a pool that works alone."""

    @property
    def view(self) -> LinkView:
        """No orchestrator."""
        return LinkView()

    def poke(self) -> None:
        """Nobody to tell."""

    def summon(self) -> None:
        """Nobody to speak."""

    async def run(self) -> None:
        """Nothing to do."""


class Announcer:
    """One pool's word to one orchestrator."""

    def __init__(
        self,
        *,
        target: Target,
        identity: Identity,
        workers: Workers,
        devices: Devices,
        models: Models,
        keyring: Keyring,
        ids: IdSource,
        dial: Callable[[str, str], OrchestratorLink],
        roll: Callable[[], float],
        count: Callable[[str], None],
        pace: Pace,
        drain: Draining,
        sharing: Sharing | None = None,
    ) -> None:
        self._target = target
        self._identity = identity
        self._workers = workers
        self._devices = devices
        self._models = models
        self._keyring = keyring
        self._ids = ids
        self._dial = dial
        self._roll = roll
        self._count = count
        self._pace = pace
        self._drain = drain
        self._sharing = sharing or Sharing()
        self._changed = asyncio.Event()
        self._summoned = asyncio.Event()
        self._link: OrchestratorLink | None = None
        self._url: str | None = None
        self._session_id = ""
        self._connected = False
        self._seq = 0
        self._told_models: list[ModelReport] = []
        self._interval_s = pace.first_s

    @property
    def view(self) -> LinkView:
        """Where the session stands."""
        url = self._url if self._connected else self._target.find()
        # What comes behind the mark tells one stream from the next, and means nothing to others.
        shown = None if url is None else url.partition("#")[0]
        return LinkView(shown, self._session_id, self._connected)

    def poke(self) -> None:
        """Something changed: beat now. Several pokes before the beat become one."""
        self._changed.set()

    def summon(self) -> None:
        """The orchestrator has come or gone: speak now, however long we wanted to wait."""
        self._changed.set()
        self._summoned.set()

    async def run(self) -> None:
        """Speak until cancelled. Workers of an earlier daemon are part of the first word."""
        await self._workers.adopted.wait()
        state = LinkState()
        try:
            while True:
                await self._wait_for_orchestrator()
                self._changed.clear()
                self._summoned.clear()
                verdict, reason = await self._speak(state)
                step = advance(
                    state,
                    verdict,
                    interval_s=self._interval_s,
                    dice=self._roll(),
                    pace=self._pace,
                )
                self._note(step, verdict, reason)
                state = step.state
                await self._rest(step)
        finally:
            await self._hang_up()

    async def _wait_for_orchestrator(self) -> None:
        if self._target.there is not None:
            self._connected = self._connected and self._target.find() is not None
            await self._target.there()

    async def _speak(self, state: LinkState) -> tuple[Verdict, str]:
        try:
            async with asyncio.timeout(self._pace.call_timeout_s):
                in_session = state.registered and not self._has_moved()
                return await (self._beat() if in_session else self._register())
        except TimeoutError:
            return Verdict.UNREACHABLE, f"no answer in {self._pace.call_timeout_s:g} s"
        except LlorchError as error:
            return judge(error.code), error.refusal.message

    def _has_moved(self) -> bool:
        """The orchestrator came back elsewhere; one that is away may still come back here."""
        return self._target.find() not in (self._url, None)

    async def _register(self) -> tuple[Verdict, str]:
        await self._hang_up()
        self._url = self._target.find()
        if self._url is None:
            return Verdict.UNREACHABLE, "no orchestratord of this installation is running"
        try:
            key = self._read_key()
        except (OSError, UnicodeDecodeError) as error:
            return Verdict.KEY_MISSING, f"{self._target.key_file}: {error}"
        self._session_id = self._ids.session()
        self._seq = 0
        self._link = self._dial(self._url, key)
        models = self._models.reports()
        registered = await self._link.register(
            PoolRegister(
                pool_id=self._identity.pool_id,
                session_id=self._session_id,
                endpoint=self._identity.endpoint,
                control_key=SecretStr(self._keyring.offer()),
                version=self._identity.version,
                devices=self._devices.reports(),
                workers=self._workers.reports(),
                models=models,
                engines=list(self._identity.engines),
                draining=self._drain.active,
                peer_key=self._sharing.key,
                certificate=self._identity.certificate,
            )
        )
        self._sharing.hear(registered.peers)
        self._keyring.settle()
        self._told_models = models
        self._interval_s = registered.heartbeat_interval_s
        self._workers.new_session()
        self._obey(registered.wanted)
        return Verdict.ACCEPTED, ""

    def _read_key(self) -> str:
        path = self._target.key_file
        return "" if path is None else path.read_text(encoding="utf-8").strip()

    async def _beat(self) -> tuple[Verdict, str]:
        if self._link is None:
            raise AssertionError("a session without a link")
        self._seq += 1
        models = self._models.reports()
        reply = await self._link.heartbeat(
            Heartbeat(
                pool_id=self._identity.pool_id,
                session_id=self._session_id,
                seq=self._seq,
                devices=self._devices.reports(),
                workers=self._workers.reports(),
                # They are told until a beat with them was answered, and then no more.
                models=None if models == self._told_models else models,
                draining=self._drain.active,
            )
        )
        self._told_models = models
        self._interval_s = reply.heartbeat_interval_s
        self._sharing.hear(reply.peers)
        self._obey(reply.wanted)
        return Verdict.ACCEPTED, ""

    def _obey(self, wanted: WantedSet) -> None:
        if self._drain.active:
            wanted = only_running(wanted, self._workers.reports())
        self._workers.apply_wanted(wanted)

    def _note(self, step: Step, verdict: Verdict, reason: str) -> None:
        self._connected = verdict is Verdict.ACCEPTED
        self._count(verdict.value)
        if step.tell is None:
            return
        if verdict is Verdict.ACCEPTED:
            _log.info("pool.registered", session=self._session_id, url=self._url)
            return
        _log.warning(
            f"orchestrator.{verdict.value}",
            url=self._url,
            reason=reason,
            retry_s=round(step.delay_s, 1),
            hint=_HINTS.get(verdict),
        )

    async def _rest(self, step: Step) -> None:
        awaited = self._changed if step.wakes_on_change else self._summoned
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(step.delay_s):
                await awaited.wait()

    async def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()


_HINTS: Final = {
    Verdict.KEY_REFUSED: "the orchestrator does not know this key: put a valid one into the file",
    Verdict.KEY_MISSING: "the key file cannot be read",
    Verdict.UNREACHABLE: "the pool works on and keeps trying",
}
