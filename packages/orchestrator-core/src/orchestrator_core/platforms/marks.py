"""Finds processes by a mark that we put into their environment when we started them."""

from collections.abc import Iterator

import psutil

from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["find_marked"]


def find_marked(platform: Platform, name: str, value: str) -> list[ProcessIdentity]:
    """Every live process that was started with NAME=VALUE; other users' are not seen."""
    return [
        identity
        for identity in _identities(platform)
        # Asked last: until then the pid may have passed to another process.
        if platform.environment(identity.pid).get(name) == value and platform.is_alive(identity)
    ]


def _identities(platform: Platform) -> Iterator[ProcessIdentity]:
    for pid in psutil.pids():
        identity = platform.identify(pid)
        if identity is not None:
            yield identity
