"""Carries out the steps of a setup; each tells how it ended, and none ends the others."""

from collections.abc import Callable
from dataclasses import replace

from orchestrator_core.console.render import Output
from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.errors import LlorchError
from orchestrator_core.platforms import files
from orchestrator_core.units import format_bytes
from pool_ctl.commands.models.download import bring
from pool_ctl.commands.progress.voice import Voice
from pool_ctl.commands.setup.plan import Act, Situation, State, Step
from pool_ctl.commands.setup.settings_text import SETTINGS_TEXT
from pool_ctl.commands.setup.submodules import fetch_submodules
from pool_ctl.pools.models.choice import open_models
from pool_ctl.settings import CliSettings

__all__ = ["perform"]


def perform(settings: CliSettings, found: Situation, step: Step, out: Output) -> Step:
    """Do what a step asks for."""
    acts: dict[Act, Callable[[], str]] = {
        Act.MAKE_FOLDERS: lambda: _make_folders(found, step),
        Act.WRITE_SETTINGS: lambda: _write_settings(found, step),
        Act.FETCH_SUBMODULES: lambda: _fetch_submodules(settings, found, step),
        Act.DOWNLOAD_MODEL: lambda: _download(settings, found, out),
    }
    if step.act is None:
        return step
    try:
        return replace(step, state=State.DONE, text=acts[step.act]())
    except LlorchError as error:
        return replace(step, state=State.FAILED, text=error.refusal.message)
    except OSError as error:
        text = f"{error.filename or step.text}: {error.strerror or error}"
        return replace(step, state=State.FAILED, text=text)


def _make_folders(found: Situation, step: Step) -> str:
    for folder in found.missing_folders:
        files.ensure_folder(folder)
    return step.text


def _write_settings(found: Situation, step: Step) -> str:
    files.ensure_folder(found.settings_file.parent)
    files.write_atomically(found.settings_file, SETTINGS_TEXT.encode())
    return step.text


def _fetch_submodules(settings: CliSettings, found: Situation, step: Step) -> str:
    if found.checkout is not None:
        fetch_submodules(found.checkout.folder, found.checkout.missing, settings.env)
    return step.text


def _download(settings: CliSettings, found: Situation, out: Output) -> str:
    voice = Voice(out.say)
    with open_models(settings, None, voice) as here:
        stored = bring(here, DownloadOrder(model=found.model or ""), out, voice)
    return f"{stored.id} ({format_bytes(stored.size_bytes)})"
