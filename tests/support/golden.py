"""Compares a text that the product makes with its file in git; ./dev golden rewrites the files."""

from pathlib import Path
from typing import Protocol

import pytest

__all__ = ["Golden", "golden"]


class Golden(Protocol):
    """Asserts that a file holds exactly this text."""

    def __call__(self, path: Path, text: str) -> None:
        """Compare, or write when the run was asked to."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --write-golden."""
    parser.addoption(
        "--write-golden",
        action="store_true",
        help="write the golden files instead of comparing with them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that owns a golden file, so that -m golden finds them all."""
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker("golden")


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """Compare with, or rewrite, a file that git keeps."""

    def compare(path: Path, text: str) -> None:
        if pytestconfig.getoption("--write-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        kept = path.read_text("utf-8") if path.exists() else ""
        assert text == kept, f"{path.name} is out of date: run ./dev golden and read the diff"

    return compare
