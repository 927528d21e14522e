"""The option --drills: tests marked `drill` are longer proofs, and only run where it is given.

`./dev hosts` gives it. A run without it says how many were left out, as deselected.
"""

import pytest

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --drills."""
    parser.addoption("--drills", action="store_true", help="run the longer proofs as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the longer proofs out of a run that did not ask for them."""
    if config.getoption("--drills"):
        return
    drills = [item for item in items if item.get_closest_marker("drill") is not None]
    if drills:
        config.hook.pytest_deselected(items=drills)
        items[:] = [item for item in items if item not in drills]
