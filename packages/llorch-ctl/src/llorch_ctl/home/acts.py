"""One-shot acts on the orchestrator's data by its own program: backup, restore, reset-admin."""

from collections.abc import Sequence

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.one_shots import run_once
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.console.render import Column, Output
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.units import format_bytes

__all__ = ["act", "refuse_running"]


def act(settings: CliSettings, out: Output, *args: str) -> None:
    """Run the act and show what it did; what the program says about it goes to stderr."""
    done = run_once(ORCHESTRATORD, args, env=settings.daemon_env())
    for line in done.talk:
        told = line.removeprefix(f"{ORCHESTRATORD.name}: ")
        warning = told.removeprefix("warning: ")
        if warning != told:
            out.warn(warning)
        else:
            out.say(told)
    out.record(done.data, _columns(list(done.data)))


def refuse_running(settings: CliSettings, what: str) -> None:
    """Fail while the daemon runs, before anything is asked or touched."""
    from llorch_ctl.home.connection import local_daemons

    identity = local_daemons(settings).identity(ORCHESTRATORD)
    if identity is not None:
        text = (
            f"orchestratord (pid {identity.pid}) is running: {what} needs it stopped; "
            "stop it with: llorch orchestrator stop"
        )
        raise HostError(Refusal(Code.DATA_IN_USE, text, {"pid": identity.pid}))


def _columns(keys: Sequence[str]) -> list[Column]:
    return [_column(key) for key in keys]


def _column(key: str) -> Column:
    if key.endswith("_bytes"):
        return Column(key, key.removesuffix("_bytes").replace("_", " "), show=_bytes)
    return Column(key, key.replace("_", " "))


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"
