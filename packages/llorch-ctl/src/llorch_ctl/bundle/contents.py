"""Collects what a support bundle holds: each part by itself, redacted, and the whole within a limit.

Files are named one by one: what is not named here (keys, the database, models) is never opened.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from llorch_ctl.bundle.redaction import Redactor
from orchestrator_core.errors import LlorchError

__all__ = ["LIMIT_BYTES", "Contents"]

LIMIT_BYTES: Final = 20 << 20
_PART_MAX_BYTES: Final = 2 << 20


@dataclass(slots=True)
class Contents:
    """What goes into the archive so far, and what did not get in, with the reason."""

    redactor: Redactor
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    limit_bytes: int = LIMIT_BYTES

    def take(self, name: str, read: Callable[[], object]) -> None:
        """Read one part; text stays text, everything else becomes JSON, None is nothing."""
        try:
            found = read()
        except LlorchError as error:
            self.left_out[name] = self.redactor.text(error.refusal.message)
            return
        except Exception as error:  # noqa: BLE001 - a part that fails costs itself and no other.
            self.left_out[name] = self.redactor.text(f"{type(error).__name__}: {error}")
            return
        if found is not None:
            self.put(name, found)

    def put(self, name: str, found: object) -> None:
        """Redact a part and keep it if there is room."""
        if isinstance(found, str):
            text = self.redactor.text(found)
        else:
            data = self.redactor.data(found)
            text = json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
        body = text.encode("utf-8", "replace")
        if len(body) > _PART_MAX_BYTES or self.size_bytes + len(body) > self.limit_bytes:
            self.left_out[name] = f"too large ({len(body)} bytes)"
        else:
            self.files[self.redactor.text(name)] = body

    @property
    def size_bytes(self) -> int:
        """How much there is."""
        return sum(len(body) for body in self.files.values())

    def manifest(self, about: Mapping[str, object]) -> None:
        """Put the list of what is in and what is not in front of everything."""
        listed = {name: len(body) for name, body in self.files.items()}
        text = json.dumps({**about, "files": listed, "left_out": self.left_out}, indent=2)
        self.files = {"manifest.json": text.encode() + b"\n", **self.files}
