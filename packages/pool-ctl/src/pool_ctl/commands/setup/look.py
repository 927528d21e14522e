"""Looks at what a host has for its setup: folders, settings, a checkout, hf, a model."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.errors import LlorchError, Refusal
from pool_core.workers.host_settings import read_settings
from pool_ctl.commands.setup.plan import Checkout, Situation
from pool_ctl.commands.setup.submodules import read_submodules
from pool_ctl.pools.models.choice import open_models
from pool_ctl.settings import CliSettings

__all__ = ["look"]


def look(settings: CliSettings, model: str | None, say: Callable[[str], None]) -> Situation:
    """Read everything and change nothing; a mistake in the settings file is raised."""
    layout = settings.layout
    host = read_settings(layout, settings.daemon_env())
    folders = (layout.config, host.models_folder or layout.models_folder, layout.state)
    found = Situation(
        folders=folders,
        missing_folders=tuple(folder for folder in folders if not folder.is_dir()),
        settings_file=layout.config_file("pool"),
        has_settings=layout.config_file("pool").exists(),
        checkout=_checkout(settings, host.git_repo),
        hf_program=shutil.which("hf", path=settings.env.get("PATH")),
        model=model,
    )
    if model is None:
        return found
    try:
        return _with_model(settings, found, model, say)
    except LlorchError as error:
        return replace(found, model_fault=error.refusal.message)


def _checkout(settings: CliSettings, folder: Path | None) -> Checkout | None:
    if folder is None:
        return None
    try:
        told = read_submodules(folder, settings.env)
    except LlorchError as error:
        return Checkout(folder, fault=error.refusal.message)
    return Checkout(folder, submodules=told.count, missing=told.missing)


def _with_model(
    settings: CliSettings, found: Situation, model: str, say: Callable[[str], None]
) -> Situation:
    with open_models(settings, None, say) as here:
        if any(stored.id == model for stored in here.models()):
            return replace(found, is_model_here=True)
        items = here.catalog()
    for item in items:
        if model in (item.id, *item.aliases):
            return replace(found, is_model_here=item.is_here, model_bytes=item.size_bytes)
    reference = parse(model)
    if isinstance(reference, Refusal):
        return replace(found, model_fault=reference.message)
    if reference.kind is ReferenceKind.ALIAS:
        text = f"there is no model {model}: llorch-pool models catalog shows what is known"
        return replace(found, model_fault=text)
    return found
