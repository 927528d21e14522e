"""A whole fleet in a lab: an orchestrator on the hub and hosts that `llorch host add` enrolled.

Changed only by the commands that a person types on the hub; watched over the orchestrator's API.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from support.certificates import tls_files
from support.checkout import ROOT
from support.home import Finished
from support.host_lab import HostLab
from support.hub_window import HubWindow, hub_window
from support.lab_host import LabHost
from support.lab_kernel import HOST_PYTHON
from support.waiting import until_sync

__all__ = ["NAMES", "Fleet", "build_wheels", "pool_of"]

NAMES: Final = ("mac", "workstation", "blep")

_ADD_TIMEOUT_S: Final = 240.0
_LOOK_EVERY_S: Final = 0.1
_PLATFORM: Final = "linux-x86_64"


def build_wheels(folder: Path) -> Path:
    """The suite's wheels and everything that a host needs besides, as `./dev wheels` makes them."""
    subprocess.run(
        [sys.executable, str(ROOT / "tools/wheels.py"), "--out", str(folder),
         "--third-party", _PLATFORM, "--python", _python_of_hosts()],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return folder


def _python_of_hosts() -> str:
    told = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.check_output([HOST_PYTHON, "-S", "-c", told], text=True).strip()


def pool_of(job: Mapping[str, Any]) -> str:
    """Where the newest attempt of a job ran."""
    return str(job["attempts"][-1]["pool_id"])


@dataclass(slots=True)
class Fleet:
    """The hub's view of the hosts of a lab."""

    lab: HostLab
    wheels: Path
    _window: HubWindow | None = field(default=None, init=False)

    def llorch(self, *args: str, timeout_s: float = 60.0) -> Finished:
        """Run one command on the hub."""
        return self.lab.hub.llorch(*args, timeout_s=timeout_s)

    def speak_https(self) -> None:
        """Let the orchestrator be reached by hosts that come to it by themselves."""
        hub = self.lab.hub
        cert, key = tls_files(hub.home / "tls")
        settings = hub.home / ".config/llorch/orchestrator.toml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(
            f'bind = "{hub.address}:8080"\ntls_cert = "{cert}"\ntls_key = "{key}"\n', "utf-8"
        )

    def trust(self, name: str) -> Finished:
        """Accept a host's key, as a person does who has compared it."""
        return self.llorch("host", "trust", name, "--yes").must()

    def enrol(self, name: str, *more: str) -> Finished:
        """Make a host a pool; it has no way to a package index."""
        options = ("--offline", "--wheels", str(self.wheels), "--yes", *more)
        return self.llorch("host", "add", name, *options, timeout_s=_ADD_TIMEOUT_S)

    def enrol_all(self, names: Sequence[str]) -> None:
        """Make several hosts pools at the same time, as a person with several terminals does."""
        for name in names:
            self.trust(name)
        with ThreadPoolExecutor(max(len(names), 1)) as terminals:
            for done in terminals.map(self.enrol, names):
                done.must()

    @property
    def window(self) -> HubWindow:
        """The orchestrator's own words; the orchestrator must have been started."""
        if self._window is None:
            self._window = self.lab.cleaning.enter_context(hub_window(self.lab.hub))
        return self._window

    def pools(self) -> dict[str, dict[str, Any]]:
        """Every pool by its name, as the orchestrator sees it now."""
        return {row["pool_id"]: row for row in self.window.ask("GET", "/v2/pools")["items"]}

    def status(self, name: str) -> str:
        """Whether the orchestrator hears from a pool; empty if it knows none of that name."""
        return str(self.pools().get(name, {}).get("status", ""))

    def until_status(self, name: str, *wanted: str, timeout_s: float = 60.0) -> str:
        """Wait until a pool is in one of these states."""

        def look() -> str:
            found = self.status(name)
            return found if found in wanted else ""

        what = f"{name} to be {' or '.join(wanted)}"
        return until_sync(look, timeout_s=timeout_s, what=what, every_s=_LOOK_EVERY_S)

    def until_ready(self, name: str, *, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """Wait until a pool is online and a worker of it would take a job; all such workers."""

        def look() -> list[dict[str, Any]]:
            pool = self.pools().get(name, {"status": "", "workers": []})
            ready = [it for it in pool["workers"] if it["status"] in ("ready", "busy")]
            return ready if pool["status"] == "online" else []

        what = f"a ready worker on {name}"
        return until_sync(look, timeout_s=timeout_s, what=what, every_s=_LOOK_EVERY_S)

    def spawn(self, name: str, *more: str, model: str = "tiny-chat") -> dict[str, Any]:
        """Start a worker on a host by its name; it is ready when this returns."""
        argv = ("pool", "worker", "spawn", "cpu", "--host", name, "--model", model)
        done = self.llorch(*argv, *more, "--format", "json", timeout_s=120.0).must()
        return cast("dict[str, Any]", done.json())

    def ask(
        self, prompt: str = "What is a worker?", *, pin_pool: str | None = None
    ) -> dict[str, Any]:
        """Hand a job in, wait for its end and return all of it."""
        return self.window.ended(self.window.submit(prompt, pin_pool=pin_pool))

    def restore(self, names: Sequence[str]) -> None:
        """Make these hosts what a test expects: connected, enrolled, with a worker that answers."""
        for name in names:
            self._wake(self.lab[name])
        known = self.pools()
        self.enrol_all([name for name in names if name not in known])
        for name in names:
            if not self.lab[name].named("pool-managerd"):
                self.llorch("pool", "daemon", "start", "--host", name).must()
        for name in names:
            self.until_status(name, "online")
            if not self.pools()[name]["workers"]:
                self.spawn(name)
            self.until_ready(name)

    def _wake(self, host: LabHost) -> None:
        if not host.is_on:
            self.lab.power_on(host.name)
        host.heal()
        for worker in host.named("llorch-worker"):
            worker.resume()
