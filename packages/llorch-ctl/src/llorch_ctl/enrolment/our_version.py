"""The version of this llorch, as its distribution names it."""

from importlib import metadata

__all__ = ["our_version"]


def our_version() -> str:
    """As `llorch --version` prints it."""
    return metadata.version("llorch-ctl")
