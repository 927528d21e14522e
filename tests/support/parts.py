"""The option --part: the suite is run in parts, two at a time, each in a process of its own.

A file belongs to the first part that has the beginning of its path; whatever none of them has,
also what is not there yet, is the part `rest`. tools/side_by_side.py runs them all.
"""

from pathlib import Path

import pytest

__all__ = ["PARTS", "is_in_this_part", "part_of"]


def _e2e(*topics: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/test_{topic}" for topic in topics)


_BEGINNINGS = {
    "pool": _e2e("direct_mode", "nvidia", "odd_workers", "pool", "spawn", "worker"),
    "machines": _e2e(
        "command_examples", "far_streams", "hostile", "lan_copy", "llorch_tools", "second_machine"
    ),
    "hosts": ("tests/e2e/hosts/",),
    "e2e": ("tests/e2e/",),
    "faults": ("tests/faults/",),
    "integration": ("tests/integration/",),
}
PARTS = (*_BEGINNINGS, "rest")


def part_of(name: str) -> str:
    """The part that a test or file belongs to, by its path from the root of the checkout."""
    return next((part for part, it in _BEGINNINGS.items() if name.startswith(it)), "rest")


def is_in_this_part(config: pytest.Config, name: str) -> bool:
    """True when this process answers for the test; a process of the whole suite does for all."""
    part = config.getoption("--part", default=None)
    return part is None or part_of(name) == part


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --part."""
    parser.addoption("--part", choices=PARTS, help="run this part of the suite only")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the files of other parts alone."""
    root = config.rootpath
    if not collection_path.is_relative_to(root) or not collection_path.is_file():
        return None
    mine = is_in_this_part(config, collection_path.relative_to(root).as_posix())
    return None if mine else True
