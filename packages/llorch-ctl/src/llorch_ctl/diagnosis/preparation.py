"""Decides what this machine still needs before it controls others: pure, one step for each thing."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

__all__ = ["Act", "Situation", "State", "Step", "plan"]

_RC_FILES: Final = {"bash": "~/.bashrc", "zsh": "~/.zshrc"}


class Act(StrEnum):
    """What a step may have to do."""

    MAKE_FOLDERS = "make folders"
    WRITE_HOSTS = "write hosts"
    WRITE_SETTINGS = "write settings"


class State(StrEnum):
    """How a step has ended, or would."""

    DONE = "done"
    WOULD = "would be done"
    ALREADY = "already so"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was found; unwritable says why orchestrator.toml cannot be written."""

    folders: tuple[Path, ...]
    missing_folders: tuple[Path, ...] = ()
    hosts_file: Path
    has_hosts: bool = False
    settings_file: Path
    has_settings: bool = False
    unwritable: str | None = None
    has_login: bool = False
    shell: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the setup; with an act it is still to be done."""

    subject: str
    state: State
    text: str
    act: Act | None = None


def plan(found: Situation) -> tuple[Step, ...]:
    """All steps in the order in which they are done."""
    return tuple(_steps(found))


def _steps(found: Situation) -> Iterator[Step]:
    if found.missing_folders:
        text = ", ".join(str(folder) for folder in found.missing_folders)
        yield Step("folders", State.WOULD, text, Act.MAKE_FOLDERS)
    else:
        text = ", ".join(str(folder) for folder in found.folders)
        yield Step("folders", State.ALREADY, text)
    if found.has_hosts:
        yield Step("hosts", State.ALREADY, f"{found.hosts_file} stays as it is")
    else:
        yield Step("hosts", State.WOULD, f"{found.hosts_file}, with an example", Act.WRITE_HOSTS)
    yield _settings(found)
    if found.has_login:
        yield Step("ssh", State.ALREADY, "this user has a key or an agent")
    else:
        text = "no key and no agent: ssh-keygen -t ed25519, then ssh-copy-id USER@HOST"
        yield Step("ssh", State.SKIPPED, text)
    yield Step("completion", State.SKIPPED, _completion(found.shell))


def _settings(found: Situation) -> Step:
    if found.has_settings:
        return Step("settings", State.ALREADY, f"{found.settings_file} stays as it is")
    if found.unwritable is not None:
        return Step("settings", State.SKIPPED, found.unwritable)
    text = f"{found.settings_file}, every setting explained and none changed"
    return Step("settings", State.WOULD, text, Act.WRITE_SETTINGS)


def _completion(shell: str) -> str:
    if shell == "fish":
        line = "llorch completion fish | source"
        return f"put this line into ~/.config/fish/config.fish: {line}"
    name = shell if shell in _RC_FILES else "bash"
    return f'put this line into {_RC_FILES[name]}: eval "$(llorch completion {name})"'
