"""Acts on the files of a host: the release, its settings, who may log in. Each can run twice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llorch_ctl.enrolment import login_scripts, scripts
from llorch_ctl.enrolment.delivery import Tell, deliver, uv_target
from llorch_ctl.enrolment.door import Door
from llorch_ctl.enrolment.host_files import HostPaths, authorized_line, key_blob
from llorch_ctl.enrolment.host_settings import with_settings
from llorch_ctl.enrolment.plan import Installer, Plan
from llorch_ctl.enrolment.probe import Probe
from llorch_ctl.enrolment.wheelhouse import Suite
from orchestrator_core.errors import Refusal
from orchestrator_core.units import format_bytes

__all__ = ["HostActs"]

_INSTALL_TIMEOUT_S: Final = 1800.0
_TEST_TIMEOUT_S: Final = 120.0
_RELEASE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostActs:
    """One host and what is to lie on it; every act tells what it did, or why not."""

    door: Door
    probe: Probe
    plan: Plan
    suite: Suite
    say: Tell

    @property
    def root(self) -> str:
        """Where the suite lies."""
        return self.probe.root

    @property
    def paths(self) -> HostPaths:
        """Where its files lie."""
        return HostPaths.of(self.probe, self.door.entry.home)

    async def make_folders(self) -> str | Refusal:
        """Make the folders."""
        return await self.door.script(scripts.make_folders(self.root), "making folders")

    async def upload(self) -> str | Refusal:
        """Send what is missing."""
        sent = await deliver(self.door, self.root, self.plan.uploads, self.plan.uv, self.say)
        if isinstance(sent, Refusal):
            return sent
        return f"{format_bytes(sent)} sent" if sent else "all is there"

    async def install(self) -> str | Refusal:
        """Make the release, unless it is complete."""
        plan = self.plan
        own = [wheel.path.name for wheel in self.suite.wheels]
        others = [wheel.path.name for wheel in plan.uploads if wheel.path.name not in own]
        program = self.probe.uv or ""
        if plan.installer is Installer.PUSHED_UV and plan.uv is not None:
            program = f"{self.root}/{uv_target(plan.uv)}"
        text = scripts.install(
            self.root,
            plan.release,
            installer=plan.installer,
            program=program,
            python=plan.python,
            suite=own,
            third_party=others,
            requirements=self.suite.requirements,
            from_index=plan.from_index,
        )
        done = await self.door.script(text, "installing", timeout_s=_INSTALL_TIMEOUT_S)
        return done if isinstance(done, Refusal) else plan.release

    async def self_test(self) -> str | Refusal:
        """Start what was installed, without touching anything."""
        text = scripts.self_test(self.root, self.plan.release, self.suite.version)
        done = await self.door.script(text, "the self-test", timeout_s=_TEST_TIMEOUT_S)
        return done if isinstance(done, Refusal) else f"llorch-pool {self.suite.version}"

    async def switch(self, release: str) -> str | Refusal:
        """Let current be this release; tells the one before, or nothing."""
        done = await self.door.script(scripts.switch(self.root, release), "switching")
        if isinstance(done, Refusal):
            return done
        before = done.strip().removeprefix("releases/")
        # It is shown, and named in later scripts: a host may say what it likes.
        return before if _RELEASE.fullmatch(before) else ""

    async def tidy(self, before: str) -> str | Refusal:
        """Keep this release and the one before; the rest goes."""
        keep = [self.plan.release, *([before] if before else [])]
        wheels = [wheel.path.name for wheel in self.plan.uploads]
        return await self.door.script(scripts.tidy(self.root, keep, wheels), "tidying up")

    async def read_settings(self) -> str | Refusal:
        """What pool.toml says; nothing where there is none."""
        file = self.paths.settings
        return await self.door.script(scripts.take_file(file), f"reading {file}")

    async def write_settings(self, values: Mapping[str, str | None]) -> bool | Refusal:
        """Set these keys in pool.toml; tells whether that changed anything."""
        file, old = self.paths.settings, await self.read_settings()
        if isinstance(old, Refusal):
            return old
        new = with_settings(old, values)
        if isinstance(new, Refusal) or new == old:
            return new if isinstance(new, Refusal) else False
        done = await self.door.script(scripts.put_file(file, new), f"writing {file}")
        return done if isinstance(done, Refusal) else True

    async def authorize(self, public_key: str, comment: str) -> str | Refusal:
        """Let the orchestrator's key in, for tunnels and remote-exec."""
        program = self.door.entry.command or ""
        line, blob = authorized_line(program, public_key, comment), key_blob(public_key)
        if isinstance(line, Refusal):
            return line
        if isinstance(blob, Refusal):
            return blob
        text = login_scripts.authorize(self.probe.home, line, blob)
        done = await self.door.script(text, "writing ~/.ssh/authorized_keys")
        return done if isinstance(done, Refusal) else "~/.ssh/authorized_keys"

    async def put_token(self, token: str) -> str | Refusal:
        """Lay the one-time token where the pool's daemon looks for it."""
        text = scripts.put_file(self.paths.token, f"{token}\n")
        done = await self.door.script(text, "laying down the token")
        return done if isinstance(done, Refusal) else self.paths.token
