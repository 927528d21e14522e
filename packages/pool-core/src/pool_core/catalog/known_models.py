"""The catalogue as it is now: a daemon need not be started again for what the user adds."""

from pathlib import Path
from typing import TypeAlias

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.config.layout import Layout

__all__ = ["KnownModels"]

_State: TypeAlias = tuple[int, int, int] | None


class KnownModels:
    """Reads the user's additions again when their file has changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen = _state_of(layout.user_catalog)
        self._catalog = Catalog.of(layout)

    def now(self) -> Catalog:
        """The catalogue; raises for a file of the user that makes no sense."""
        state = _state_of(self._layout.user_catalog)
        if state != self._seen:
            self._catalog = Catalog.of(self._layout)
            self._seen = state
        return self._catalog


def _state_of(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
