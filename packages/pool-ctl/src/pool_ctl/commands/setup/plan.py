"""Decides what a host still needs before its first worker: pure.

Takes what was found on the host, and answers with one step each; a step that needs no act says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from orchestrator_core.units import format_bytes

__all__ = ["Act", "Checkout", "Situation", "State", "Step", "plan"]

_HF_HINT: Final = "not found, and not needed: pipx install huggingface_hub brings it"


class Act(StrEnum):
    """What a step may have to do."""

    MAKE_FOLDERS = "make folders"
    WRITE_SETTINGS = "write settings"
    FETCH_SUBMODULES = "fetch submodules"
    DOWNLOAD_MODEL = "download model"


class State(StrEnum):
    """How a step has ended, or would."""

    DONE = "done"
    WOULD = "would be done"
    ALREADY = "already so"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Checkout:
    """The configured checkout; a fault says why its submodules cannot be told."""

    folder: Path
    submodules: int = 0
    missing: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was found; without a model none is wanted, and a fault says why none can be told."""

    folders: tuple[Path, ...]
    missing_folders: tuple[Path, ...]
    settings_file: Path
    has_settings: bool
    checkout: Checkout | None = None
    hf_program: str | None = None
    model: str | None = None
    model_bytes: int | None = None
    is_model_here: bool = False
    model_fault: str | None = None


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
    if found.has_settings:
        yield Step("settings", State.ALREADY, f"{found.settings_file} stays as it is")
    else:
        text = f"{found.settings_file}, every setting explained and none changed"
        yield Step("settings", State.WOULD, text, Act.WRITE_SETTINGS)
    yield _submodules(found.checkout)
    if found.hf_program is None:
        yield Step("hf program", State.SKIPPED, _HF_HINT)
    else:
        yield Step("hf program", State.ALREADY, found.hf_program)
    yield _model(found)


def _submodules(checkout: Checkout | None) -> Step:
    if checkout is None:
        text = "no checkout is configured: git_repo in pool.toml names one"
        return Step("submodules", State.SKIPPED, text)
    if checkout.fault is not None:
        return Step("submodules", State.FAILED, f"{checkout.folder}: {checkout.fault}")
    if checkout.missing:
        text = f"{', '.join(checkout.missing)} of {checkout.folder}"
        return Step("submodules", State.WOULD, text, Act.FETCH_SUBMODULES)
    if not checkout.submodules:
        return Step("submodules", State.SKIPPED, f"{checkout.folder} has none")
    text = f"all {checkout.submodules} of {checkout.folder} are there"
    return Step("submodules", State.ALREADY, text)


def _model(found: Situation) -> Step:
    if found.model is None:
        return Step("model", State.SKIPPED, "--no-models: llorch-pool models download M brings one")
    if found.model_fault is not None:
        return Step("model", State.FAILED, found.model_fault)
    if found.is_model_here:
        return Step("model", State.ALREADY, f"{found.model} is here")
    size = "" if found.model_bytes is None else f" ({format_bytes(found.model_bytes)})"
    return Step("model", State.WOULD, f"{found.model}{size}", Act.DOWNLOAD_MODEL)
