"""What every command of llorch-pool starts from: folders, environment, the way to the daemon.

Modules that take long to load are loaded on use, so that --help stays instant.
"""

import contextlib
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.exits import CrashPolicy

if TYPE_CHECKING:
    from orchestrator_core.clients.pool import PoolClient
    from orchestrator_core.console.daemons import Daemons
    from orchestrator_core.contracts.control import RunFile
    from orchestrator_core.errors import LlorchError

__all__ = ["NOT_RUNNING", "CliSettings", "crash_policy"]

# A started daemon has its own keys: the caller's must not leak into its environment.
_PRIVATE: Final = "LLORCH_API_KEY"
_ANSWER_TIMEOUT_S: Final = 2.0

NOT_RUNNING: Final = "pool-managerd is not running: start it with llorch-pool daemon start"


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

    @contextlib.contextmanager
    def pool(self, url: str | None = None) -> Generator["PoolClient", None, None]:
        """Call a pool; an address that nobody named and that fails means "not running"."""
        from orchestrator_core.clients.pool import PoolClient
        from orchestrator_core.console.endpoints import find_url, key_for
        from orchestrator_core.console.programs import POOL_MANAGERD
        from orchestrator_core.contracts.control import Health
        from orchestrator_core.errors import LlorchError

        run = None if self.is_named(url) else self.run_file()
        found = find_url(POOL_MANAGERD, flag=url, env=self.env, layout=self.layout)
        key = key_for(found, env=self.env, key_file=self.layout.pool_key)
        with PoolClient(found, key) as client:
            try:
                if run is not None:
                    # A daemon that holds the pool and hangs must not make every command hang.
                    client.call("GET", "/health", Health, timeout_s=_ANSWER_TIMEOUT_S)
                yield client
            except LlorchError as error:
                if self.is_named(url):
                    raise
                raise self._explained(error, run) from error

    def _explained(self, error: "LlorchError", run: "RunFile | None") -> "LlorchError":
        from orchestrator_core.errors import Code, Refusal, error_for

        if run is not None:
            if error.code not in (Code.UNREACHABLE, Code.TIMEOUT):
                return error
            text = f"pool-managerd (pid {run.pid}) runs but does not answer at {run.url}"
            return error_for(Refusal(error.code, text))
        # Without a run file the address is a guess: whoever refuses us there is not ours.
        strangers = {Code.UNREACHABLE, Code.TIMEOUT, Code.INTERNAL}
        if not self.env.get("LLORCH_API_KEY"):
            strangers |= {Code.NO_KEY, Code.BAD_KEY, Code.NOT_FOUND}
        return (
            error_for(Refusal(Code.UNREACHABLE, NOT_RUNNING)) if error.code in strangers else error
        )


def crash_policy() -> CrashPolicy:
    """Where the traceback of a defect goes."""
    settings = CliSettings.from_environment()
    show = settings.env.get("LLORCH_DEBUG", "") not in ("", "0")
    return CrashPolicy(settings.layout.log_folder / "llorch-pool-crash.log", show)
