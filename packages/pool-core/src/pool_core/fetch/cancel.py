"""How whoever ordered something long says that it shall stop."""

from typing import Protocol

__all__ = ["Cancel"]


class Cancel(Protocol):
    """Says whether somebody wants an act to stop; a threading.Event fits."""

    def is_set(self) -> bool:
        """True from the moment on that it shall stop."""
        ...
