"""What a command knows before it does anything: its environment and the folders it implies."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.exits import CrashPolicy

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

    def daemon_env(self) -> dict[str, str]:
        """What a daemon inherits; its folders must not depend on where it is started."""
        env = {name: value for name, value in self.env.items() if name != _PRIVATE}
        if env.get("LLORCH_HOME"):
            env["LLORCH_HOME"] = str(self.layout.state.parent)
        return env


def crash_policy() -> CrashPolicy:
    """Where the traceback of a defect goes."""
    settings = CliSettings.from_environment()
    show = settings.env.get("LLORCH_DEBUG", "") not in ("", "0")
    return CrashPolicy(settings.layout.log_folder / "llorch-crash.log", show)
