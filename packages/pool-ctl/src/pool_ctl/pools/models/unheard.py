"""Says which words of this shell about a hub a running daemon does not hear: pure.

A daemon asks the hub with the environment that it was started with.
"""

from collections.abc import Mapping
from typing import Final

from orchestrator_core.errors import Code

__all__ = ["unheard", "unheard_token"]

# Those that would quietly change what is asked, and whom.
_TURNING: Final = ("HF_ENDPOINT", "HF_HUB_OFFLINE")
_KEPT_AWAY: Final = frozenset({Code.MODEL_GATED, Code.MODEL_NOT_FOUND})


def unheard(env: Mapping[str, str]) -> str | None:
    """What to tell a person before a daemon asks the hub."""
    names = [name for name in _TURNING if env.get(name)]
    return _line(names) if names else None


def unheard_token(env: Mapping[str, str], code: Code) -> str | None:
    """What to tell a person whom a hub has kept away although there is a token."""
    return _line(["HF_TOKEN"]) if env.get("HF_TOKEN") and code in _KEPT_AWAY else None


def _line(names: list[str]) -> str:
    return (
        f"pool-managerd keeps to the {' and '.join(names)} that it was started with, whatever this "
        "shell says: llorch-pool daemon stop and llorch-pool daemon start hand it on"
    )
