"""Runs every check in order before the engine is touched; main prints the first no."""

from dataclasses import dataclass

from llorch_worker.engine import facts, limits
from llorch_worker.settings import Settings

__all__ = ["Ready", "examine"]


@dataclass(frozen=True, slots=True)
class Ready:
    """What a checked start needs beyond the settings."""

    keys: tuple[str, ...]
    threads: int


def examine(settings: Settings) -> Ready | str:
    """Check the settings, then the files they name; a text says why the start is refused."""
    host = facts.read_host()
    reason = limits.refuse(settings, host)
    if reason is not None:
        return reason
    try:
        keys = facts.read_keys(settings.api_key_file)
        model = facts.read_model(settings.model)
    except facts.FileError as error:
        return str(error)
    reason = limits.refuse_keys(keys) or limits.refuse_model(settings, host, model)
    return reason or Ready(keys, settings.threads or facts.default_threads(host))
