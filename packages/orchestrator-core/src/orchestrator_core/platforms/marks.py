"""Finds processes by a mark that we put into their environment when we started them."""

import psutil

from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["find_marked"]


def find_marked(platform: Platform, name: str, value: str) -> list[ProcessIdentity]:
    """Every live process that was started with NAME=VALUE; other users' are not seen."""
    found = (
        platform.identify(pid) for pid in psutil.pids() if _environment(pid).get(name) == value
    )
    return [identity for identity in found if identity is not None]


def _environment(pid: int) -> dict[str, str]:
    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}
