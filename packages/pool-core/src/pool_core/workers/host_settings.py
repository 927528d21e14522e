"""Reads what of config/pool.toml matters with and without a daemon.

It stands apart from the supervisor, which takes long to load and which most commands do not need.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from orchestrator_core.config import loader
from orchestrator_core.config.layout import Layout

__all__ = ["HostSettings", "read_settings"]


class HostSettings(BaseModel):
    """The host's part of the settings; the other keys of the file are the daemon's."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    pool_id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    worker_program: Path | None = None
    models_folder: Path | None = None
    git_repo: Path | None = None


def read_settings(layout: Layout, env: Mapping[str, str]) -> HostSettings:
    """Read the host's part of the pool's settings as the daemon would."""
    file = layout.config_file("pool")
    return loader.load(
        HostSettings, env_prefix="LLORCH_POOL_", env=env, file=file, flags={}
    ).settings
