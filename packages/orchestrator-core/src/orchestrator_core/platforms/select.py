"""Picks the adapter of the operating system we run on."""

import sys

from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.port import Platform

__all__ = ["current"]


def current() -> Platform:
    """Make the adapter of this machine; another system is refused with one line."""
    if sys.platform == "linux":
        from orchestrator_core.platforms.linux import LinuxPlatform

        return LinuxPlatform()
    if sys.platform == "darwin":
        from orchestrator_core.platforms.macos import MacPlatform

        return MacPlatform()
    reason = (
        f"this system ({sys.platform}) is not supported: llama-orch runs on Linux and macOS, "
        "and on Windows inside WSL"
    )
    raise HostError(Refusal(Code.INTERNAL, reason))
