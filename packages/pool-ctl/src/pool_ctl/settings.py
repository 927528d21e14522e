"""What every command of llorch-pool starts from: folders, environment, this host's daemon.

Modules that take long to load are loaded on use, so that --help stays instant.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.exits import CrashPolicy

if TYPE_CHECKING:
    from orchestrator_core.console.daemons import Daemons
    from orchestrator_core.contracts.control import RunFile

__all__ = ["CliSettings", "crash_policy"]

# A started daemon has its own keys: the caller's must not leak into its environment.
_PRIVATE: Final = "LLORCH_API_KEY"


@dataclass(frozen=True, slots=True)
class CliSettings:
    """Read once by the root command and handed to every other."""

    env: Mapping[str, str]
    layout: Layout

    @classmethod
    def from_environment(cls) -> "CliSettings":
        """Read the environment of this process."""
        env = dict(os.environ)
        return cls(env, Layout.from_env(env))

    def daemons(self) -> "Daemons":
        """The daemons of this installation."""
        from orchestrator_core.console.daemons import Daemons
        from orchestrator_core.platforms import select

        return Daemons(self.layout, select.current(), self.daemon_env())

    def daemon_env(self) -> dict[str, str]:
        """What a daemon inherits; its folders must not depend on where it is started."""
        env = {name: value for name, value in self.env.items() if name != _PRIVATE}
        if env.get("LLORCH_HOME"):
            env["LLORCH_HOME"] = str(self.layout.state.parent)
        return env

    def run_file(self) -> "RunFile | None":
        """The run file of this installation's pool-managerd, if that is alive."""
        from orchestrator_core.console.programs import POOL_MANAGERD

        return self.daemons().running(POOL_MANAGERD)

    def is_named(self, url: str | None) -> bool:
        """Tell whether a person said which pool is meant, instead of leaving it to us."""
        return bool(url or self.env.get("LLORCH_POOL_URL"))


def crash_policy() -> CrashPolicy:
    """Where the traceback of a defect goes."""
    settings = CliSettings.from_environment()
    show = settings.env.get("LLORCH_DEBUG", "") not in ("", "0")
    return CrashPolicy(settings.layout.log_folder / "llorch-pool-crash.log", show)
