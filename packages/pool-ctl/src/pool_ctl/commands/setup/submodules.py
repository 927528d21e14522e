"""Reads and fetches the submodules of a checkout; what a person has changed in one stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pool_ctl.git.checkout import Checkout, open_checkout

__all__ = ["Submodules", "fetch_submodules", "read_submodules"]


@dataclass(frozen=True, slots=True)
class Submodules:
    """How many there are, and the paths of those that were never fetched."""

    count: int
    missing: tuple[str, ...]


def read_submodules(folder: Path, env: Mapping[str, str]) -> Submodules:
    """Ask git; nothing is fetched."""
    checkout = _open(folder, env)
    modules = checkout.recorded()
    missing = [module for module in modules if module.url and checkout.inner(module) is None]
    return Submodules(len(modules), tuple(module.path for module in missing))


def fetch_submodules(folder: Path, paths: tuple[str, ...], env: Mapping[str, str]) -> None:
    """Fetch submodules that were never fetched, at the recorded commits."""
    words = ("--literal-pathspecs", "submodule", "update", "--init", "--recursive", "--progress")
    _open(folder, env).git.transfer(*words, "--", *paths)


def _open(folder: Path, env: Mapping[str, str]) -> Checkout:
    return open_checkout(folder.expanduser().absolute(), env, is_named=True)
