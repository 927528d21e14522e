"""Goes through the steps of an enrolment, one after the other, and stops at the first no.

What was done stays: every step finds its own work done when the same command runs again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from llorch_ctl.enrolment.acts import HostActs
from llorch_ctl.enrolment.daemon_acts import DaemonActs
from llorch_ctl.enrolment.desk import Desk
from llorch_ctl.enrolment.door import record_of
from llorch_ctl.enrolment.joining import PushWay
from llorch_ctl.enrolment.plan import Step, StepKind, Wanted
from llorch_ctl.enrolment.pool_keys import PoolKeys
from llorch_ctl.enrolment.reach import Reach
from llorch_ctl.hosts.entries import HostEntry
from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import format_duration

if TYPE_CHECKING:
    from orchestrator_core.contracts.control import PoolView

__all__ = ["Enrolment"]

_POLL_S: Final = 0.25
_BEAT_TIMEOUT_S: Final = 60.0
_LISTEN_TIMEOUT_S: Final = 20.0

T = TypeVar("T")
Act = Callable[[], Awaitable[str | Refusal]]


@dataclass(slots=True)
class Enrolment:
    """One host on its way to being a pool."""

    host: HostActs
    daemon: DaemonActs
    wanted: Wanted
    values: Mapping[str, str | None]
    write_entry: Callable[[HostEntry], None]
    keys: PoolKeys
    new_token: Callable[[], str]
    say: Callable[[str], None]
    clock: Clock
    desk: Desk | None = None
    reach: Reach | None = None
    push: PushWay | None = None
    previous: str = ""
    pool: "PoolView | None" = None
    _is_changed: bool = False
    _token: str | None = None
    _done: list[str] = field(default_factory=list[str])

    async def run(self, again: str) -> Refusal | None:
        """Do every step; again is the command that goes on after a failure."""
        acts = self._acts()
        steps = self.host.plan.steps
        for number, step in enumerate(steps, start=1):
            self.say(f"[{number}/{len(steps)}] {step.text}")
            begun_s = self.clock.monotonic_s()
            done = await acts[step.kind]()
            if isinstance(done, Refusal):
                return self._stopped(step, done, again)
            self._done.append(step.kind.value)
            took = format_duration(self.clock.monotonic_s() - begun_s)
            self.say(f"      {_shown(done) or 'done'} ({took})")
        return None

    def _stopped(self, step: Step, refusal: Refusal, again: str) -> Refusal:
        done = ", ".join(self._done) or "nothing"
        reason = refusal.message.removeprefix(f"{self.wanted.name}: ")
        line = (
            f"{self.wanted.name}: the step {step.kind.value} failed: {reason} "
            f"(done before: {done}); to go on, run again: {again}"
        )
        details = {**refusal.details, "step": step.kind.value, "done": list(self._done)}
        return Refusal(refusal.code, line, details, refusal.retry_after_s)

    def _acts(self) -> Mapping[StepKind, Act]:
        kind = StepKind
        return {
            kind.FOLDERS: self.host.make_folders,
            kind.UPLOAD: self.host.upload,
            kind.INSTALL: self.host.install,
            kind.TEST: self.host.self_test,
            kind.SWITCH: self._switch,
            kind.SETTINGS: self._write_settings,
            kind.AUTHORIZE: self._authorize,
            kind.TOKEN: self._lay_token,
            kind.SERVICE: lambda: self._run_daemon(kind.SERVICE),
            kind.START: lambda: self._run_daemon(kind.START),
            kind.BOOK: self._write_entry,
            kind.KEY: self._keep_key,
            kind.ENROL: self._enrol,
            kind.JOIN: self._join,
            kind.HEARTBEAT: self._await_heartbeat,
        }

    async def _switch(self) -> str | Refusal:
        before = await self.host.switch(self.host.plan.release)
        if isinstance(before, Refusal):
            return before
        if before == self.host.plan.release:
            return "it is so already"
        self.previous, self._is_changed = before, True
        tidied = await self.host.tidy(before)
        if isinstance(tidied, Refusal):
            return tidied
        return f"before: {before}" if before else ""

    async def _write_settings(self) -> str | Refusal:
        changed = await self.host.write_settings(self.values)
        if isinstance(changed, Refusal):
            return changed
        self._is_changed = self._is_changed or changed
        return "" if changed else "it says so already"

    async def _authorize(self) -> str | Refusal:
        desk = self._need(self.desk)
        identity = await desk.identity()
        if isinstance(identity, Refusal):
            return identity
        return await self.host.authorize(identity.public_key, desk.url)

    async def _lay_token(self) -> str | Refusal:
        joined = await self._is_joined()
        if isinstance(joined, Refusal):
            return joined
        if joined:
            return "it has joined already"
        self._token = self.new_token()
        return await self.host.put_token(self._token)

    async def _is_joined(self) -> bool | Refusal:
        """Both sides must remember each other: a host that was made anew has forgotten."""
        if not self.host.probe.joined:
            return False
        pool = await self._need(self.desk).pool(self.wanted.name)
        if isinstance(pool, Refusal):
            return pool
        endpoint = self._need(self.reach).endpoint
        return pool is not None and pool.endpoint == endpoint and pool.link != "needs_attention"

    async def _run_daemon(self, kind: StepKind) -> str | Refusal:
        running = await self.daemon.is_running()
        if isinstance(running, Refusal):
            return running
        return await self.daemon.run(kind, restart=running and self._is_changed)

    async def _write_entry(self) -> str | Refusal:
        entry = self.host.door.entry
        # The file of settings is locked and written: nothing else waits for this loop meanwhile.
        await asyncio.to_thread(self.write_entry, entry)
        return ""

    async def _keep_key(self) -> str | Refusal:
        door = self.host.door
        entry = await self.keys.fetch(door, self.host.paths, self.wanted.bind)
        if isinstance(entry, Refusal):
            return entry
        await asyncio.to_thread(self.write_entry, entry)
        return str(entry.key_file)

    async def _enrol(self) -> str | Refusal:
        from pydantic import SecretStr

        from orchestrator_core.contracts.joining import PoolOrder

        if self._token is None:
            return "it is known already"
        closed = await self._closed_port()
        if closed is not None:
            return closed
        reach = self._need(self.reach)
        order = PoolOrder(
            pool_id=self.wanted.name,
            endpoint=reach.endpoint,
            host_keys=reach.host_keys,
            token=SecretStr(self._token),
            daemon_port=self.wanted.port,
        )
        told = await self._need(self.desk).enrol(order)
        return told if isinstance(told, Refusal) else reach.endpoint

    async def _closed_port(self) -> Refusal | None:
        """Why no tunnel leads to the daemon; one that has just been started gets its time."""
        until_s = self.clock.monotonic_s() + _LISTEN_TIMEOUT_S
        while True:
            closed = await self.host.door.no_tunnel_to(self.wanted.port)
            late = self.clock.monotonic_s() >= until_s
            if closed is None or late or closed.code is not Code.UNREACHABLE:
                return closed
            await asyncio.sleep(_POLL_S)

    async def _join(self) -> str | Refusal:
        from orchestrator_core.contracts.joining import JoinTokenOrder

        token = await self._need(self.desk).token(JoinTokenOrder(pool_id=self.wanted.name))
        if isinstance(token, Refusal):
            return token
        way = self._need(self.push)
        argv = ["daemon", "join", "--url", way.url, "--token", token.token.get_secret_value()]
        argv += ["--name", self.wanted.name, "--bind", self.wanted.bind]
        argv += ["--ca-sha256", way.pin] if way.pin else []
        done = await self.host.door.tell("joining", *argv, "--format", "json")
        if isinstance(done, Refusal):
            return done
        if record_of(done).get("status") == "already_joined":
            return f"it is a pool of {way.url} already"
        if any(step.kind is StepKind.SERVICE for step in self.host.plan.steps):
            # The join has started the daemon by itself: the service takes it over.
            taken = await self.daemon.run(StepKind.SERVICE, restart=True)
            if isinstance(taken, Refusal):
                return taken
        return way.url

    async def _await_heartbeat(self) -> str | Refusal:
        """Look until the pool is online, or until somebody must do something."""
        desk, name, refusal = self._need(self.desk), self.wanted.name, None
        try:
            async with asyncio.timeout(_BEAT_TIMEOUT_S):
                while True:
                    found = await desk.pool(name)
                    if isinstance(found, Refusal):
                        return found
                    if found is not None and found.status in ("online", "draining"):
                        self.pool = found
                        return ""
                    if found is not None and found.link == "needs_attention":
                        line = f"the orchestrator cannot reach {name}: {found.reason}"
                        return Refusal(Code.UNREACHABLE, line)
                    refusal = found.reason if found is not None else "it is not enrolled any more"
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            reason = f": {refusal}" if refusal else ""
            line = (
                f"no heartbeat within {_BEAT_TIMEOUT_S:.0f} s{reason}; "
                f"llorch host check {name} looks closer"
            )
            return Refusal(Code.TIMEOUT, line)

    def _need(self, part: T | None) -> T:
        if part is None:
            raise AssertionError("the plan has a step whose part was not given")
        return part


def _shown(text: str) -> str:
    """What a host says of itself reaches the terminal as plain text."""
    return "".join(char if char.isprintable() else " " for char in text)
