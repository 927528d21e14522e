"""Starts and restarts pool-managerd of a host, as a service or without one."""

from dataclasses import dataclass

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.delivery import Tell
from llorch_ctl.enrolment.door import Door, record_of
from llorch_ctl.enrolment.plan import StepKind
from llorch_ctl.enrolment.probe import Probe
from orchestrator_core.errors import Exit, Refusal

__all__ = ["DaemonActs"]


@dataclass(frozen=True, slots=True)
class DaemonActs:
    """The daemon of one host; its workers outlive every act here."""

    door: Door
    probe: Probe
    say: Tell

    async def is_running(self) -> bool | Refusal:
        """Whether it answers now."""
        answer = await self.door.ask("daemon", "status", "--format", "json")
        if isinstance(answer, Refusal):
            return answer
        return answer.code == Exit.OK

    async def run(self, kind: StepKind, *, restart: bool) -> str | Refusal:
        """Have it running, anew if what it was started with has changed."""
        if kind is StepKind.SERVICE:
            return await self._as_service(restart=restart)
        return await self._in_background(restart=restart)

    async def stop(self, *, workers: bool = False) -> str | Refusal:
        """Stop it; its workers run on unless they shall end too."""
        extra = ("--workers",) if workers else ()
        done = await self.door.tell("stopping pool-managerd", "daemon", "stop", *extra)
        return done if isinstance(done, Refusal) else "stopped"

    async def _in_background(self, *, restart: bool) -> str | Refusal:
        if restart:
            stopped = await self.stop()
            if isinstance(stopped, Refusal):
                return stopped
        done = await self.door.tell("starting pool-managerd", "daemon", "start", "--format", "json")
        if isinstance(done, Refusal):
            return done
        return f"it listens on {record_of(done).get('url', 'its port')}"

    async def _as_service(self, *, restart: bool) -> str | Refusal:
        scope = "--system" if self.probe.uid == 0 else "--user"
        if scope == "--user" and self.probe.systemd and self.probe.lingers is not True:
            lingered = await self.door.script(scripts.linger(self.probe.user), "enabling linger")
            if isinstance(lingered, Refusal):
                # The service works without it; it only ends with the last login.
                self.say(
                    f"warning: {self.door.name}: pool-managerd will end at the last logout; run "
                    f"there: sudo loginctl enable-linger {self.probe.user}"
                )
        # A daemon that is not the service's own stands in its way; its workers run on.
        if restart:
            stopped = await self.stop()
            if isinstance(stopped, Refusal):
                return stopped
        install = ("daemon", "install-service", scope, "--format", "json")
        done = await self.door.tell("installing the service", *install)
        if isinstance(done, Refusal):
            return done
        if restart:
            woken = await self.door.script(scripts.restart_service(scope), "restarting the service")
            if isinstance(woken, Refusal):
                return woken
        return f"{record_of(done).get('path', 'the service')}"
