"""Looks at what this machine has for its setup, and carries out the steps; none ends the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from llorch_ctl.diagnosis.daemon_settings import read_daemon_settings
from llorch_ctl.diagnosis.local_reading import read_ssh
from llorch_ctl.diagnosis.preparation import Act, Situation, State, Step
from llorch_ctl.diagnosis.settings_text import HOSTS_TEXT, settings_text
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import LlorchError, Refusal, error_for
from orchestrator_core.platforms import files

__all__ = ["look", "perform"]

_PREFIX: Final = "LLORCH_ORCHESTRATOR_"
# What a person has set must not become what the file calls a default.
_KEPT: Final = ("PATH", "HOME", "LANG")


def look(settings: CliSettings) -> Situation:
    """Read everything and change nothing."""
    layout = settings.layout
    folders = (layout.config, layout.state)
    ssh = read_ssh(settings)
    file = layout.config_file("orchestrator")
    told = None if file.exists() else _defaults(settings)
    return Situation(
        folders=folders,
        missing_folders=tuple(folder for folder in folders if not folder.is_dir()),
        hosts_file=layout.config_file("llorch"),
        has_hosts=layout.config_file("llorch").exists(),
        settings_file=file,
        has_settings=file.exists(),
        unwritable=told.message if isinstance(told, Refusal) else None,
        has_login=bool(ssh.keys) or ssh.agent_answers,
        shell=Path(settings.env.get("SHELL", "")).name,
    )


def perform(settings: CliSettings, found: Situation, step: Step) -> Step:
    """Do what a step asks for."""
    acts: dict[Act, Callable[[], None]] = {
        Act.MAKE_FOLDERS: lambda: _make_folders(found),
        Act.WRITE_HOSTS: lambda: _write(found.hosts_file, HOSTS_TEXT),
        Act.WRITE_SETTINGS: lambda: _write(found.settings_file, _settings(settings)),
    }
    if step.act is None:
        return step
    try:
        acts[step.act]()
    except LlorchError as error:
        return replace(step, state=State.FAILED, text=error.refusal.message)
    except OSError as error:
        text = f"{error.filename or step.text}: {error.strerror or error}"
        return replace(step, state=State.FAILED, text=text)
    return replace(step, state=State.DONE)


def _make_folders(found: Situation) -> None:
    for folder in found.missing_folders:
        files.ensure_folder(folder)


def _write(file: Path, text: str) -> None:
    files.ensure_folder(file.parent)
    files.write_atomically(file, text.encode("utf-8"))


def _settings(settings: CliSettings) -> str:
    text = _defaults(settings)
    if isinstance(text, Refusal):
        raise error_for(text)
    return text


def _defaults(settings: CliSettings) -> str | Refusal:
    env = {name: value for name, value in settings.env.items() if name in _KEPT}
    told = read_daemon_settings(ORCHESTRATORD, env | {"LLORCH_HOME": str(settings.layout.state)})
    if isinstance(told, Refusal):
        return told
    return settings_text(ORCHESTRATORD.name, _PREFIX, told.settings, told.descriptions)
