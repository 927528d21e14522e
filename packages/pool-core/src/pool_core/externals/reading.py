"""Reads the [[external]] tables of pool.toml for a command that runs without the daemon."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from orchestrator_core.config.loader import load
from orchestrator_core.errors import Refusal, RequestError
from pool_core.externals.settings import ExternalEngine, ExternalEngines

__all__ = ["read_externals"]


class _Tables(BaseModel):
    # The other keys of the file are the daemon's; it judges them itself.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    external: ExternalEngines = ()


def read_externals(config_file: Path) -> tuple[ExternalEngine, ...] | Refusal:
    """The external engines of a settings file; a file that is not there names none."""
    try:
        return load(_Tables, env_prefix="", env={}, file=config_file, flags={}).settings.external
    except RequestError as error:
        return error.refusal
