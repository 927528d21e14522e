"""What a host keeps of the orchestrator that it joined: its key, its certificate, three settings.

They are made ready before the one-time token is shown, so that a full disk costs no token; and a
host that leaves keeps none of them.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.config.layout import Layout
from pool_ctl.pools.reserved import Reserved
from pool_ctl.pools.settings_file import SettingsFile
from pool_ctl.pools.settings_text import Setting

__all__ = ["Keepsakes", "Known"]

# Room for the key that is told; ours have 60.
_KEY_BYTES: Final = 1024
_LEAVE: Final[Mapping[str, Setting]] = {
    "orchestrator_url": None,
    "orchestrator_key_file": None,
    "orchestrator_ca": None,
    "orchestrator_pin": None,
}


@dataclass(frozen=True, slots=True)
class Known:
    """An orchestrator: where it is, and the authority or the one certificate that vouches for it."""

    url: str
    ca: Path | None
    pin: str | None


class Keepsakes:
    """The files of one installation that say whose pool it is."""

    def __init__(self, layout: Layout, settings: SettingsFile) -> None:
        self._layout = layout
        self._settings = settings

    @contextlib.contextmanager
    def made_ready(self, hub: Known, pool_id: str) -> Generator[Callable[[str], None]]:
        """Have all of them on the disk as drafts; with the key they become what they are for.

        The settings come last: they alone make the daemon use the rest.
        """
        pin, text = hub.pin, self._text(hub, pool_id)
        with contextlib.ExitStack() as stack:

            def reserve(path: Path, size_bytes: int, mode: int = 0o600) -> Reserved:
                reserved = Reserved.take(path, size_bytes, mode=mode)
                stack.callback(reserved.drop)
                return reserved

            key_file = reserve(self._layout.pool_orchestrator_key, _KEY_BYTES)
            pin_file = None
            if pin is not None:
                pin_file = reserve(self._layout.pool_orchestrator_ca, len(pin))
            settings = reserve(self._settings.target, len(text), self._settings.mode)

            def keep(key: str) -> None:
                key_file.fill(f"{key}\n".encode())
                if pin_file is not None and pin is not None:
                    pin_file.fill(pin.encode())
                settings.fill(text)

            yield keep

    def forget(self) -> None:
        """Take all of them away; the settings first, for they make the daemon use the rest."""
        if self._settings.target.exists():
            self._settings.change(_LEAVE)
        layout = self._layout
        for path in (
            layout.pool_orchestrator_key,
            layout.pool_orchestrator_ca,
            layout.pool_credential,
            layout.pool_join_token,
        ):
            path.unlink(missing_ok=True)

    def _text(self, hub: Known, pool_id: str) -> bytes:
        layout = self._layout
        changes: dict[str, Setting] = {
            "pool_id": pool_id,
            "orchestrator_url": hub.url,
            "orchestrator_key_file": str(layout.pool_orchestrator_key),
            "orchestrator_ca": None if hub.ca is None else str(hub.ca),
            "orchestrator_pin": None if hub.pin is None else str(layout.pool_orchestrator_ca),
        }
        return self._settings.text_with(changes).encode()
