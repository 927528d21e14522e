"""The settings file of pool-managerd, as the commands change it: atomic, links kept, undone."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.platforms import files
from pool_ctl.pools.settings_text import Setting, with_settings

__all__ = ["SettingsFile"]

_SIZE_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """One TOML file."""

    path: Path

    def read(self) -> str:
        """The text; a file that is not there is empty."""
        try:
            with self.path.open("rb") as stream:
                data = stream.read(_SIZE_MAX_BYTES + 1)
            if len(data) > _SIZE_MAX_BYTES:
                raise error_for(self._invalid("it is larger than 1 MiB"))
            return data.decode("utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise error_for(self._invalid("it is not UTF-8 text")) from error
        except OSError as error:
            raise self._unusable(error) from error

    def text_with(self, changes: Mapping[str, Setting]) -> str:
        """The text as it would be with settings set or taken out."""
        text = with_settings(self.read(), changes)
        if isinstance(text, Refusal):
            raise error_for(self._invalid(text.message))
        return text

    def change(self, changes: Mapping[str, Setting]) -> None:
        """Set or take out settings."""
        self.write(self.text_with(changes))

    def write(self, text: str) -> None:
        """Replace the whole text."""
        try:
            files.ensure_folder(self.target.parent)
            files.write_atomically(self.target, text.encode("utf-8"), mode=self.mode)
        except OSError as error:
            raise self._unusable(error) from error

    def value(self, key: str) -> object:
        """What a setting is in the file; None where it is not there or the file cannot be read."""
        try:
            return tomllib.loads(self.read()).get(key)
        except (tomllib.TOMLDecodeError, LlorchError):
            return None

    @property
    def target(self) -> Path:
        """The file itself: a link stays a link, for many keep their settings elsewhere."""
        return self.path.resolve()

    @property
    def mode(self) -> int:
        """Who may read it; a new one is this user's."""
        return self.target.stat().st_mode & 0o777 if self.target.exists() else 0o600

    def _invalid(self, reason: str) -> Refusal:
        return Refusal(Code.CONFIG_INVALID, f"{self.path}: {reason}", {"file": str(self.path)})

    def _unusable(self, error: OSError) -> LlorchError:
        line = f"cannot use {error.filename or self.path}: {error.strerror}"
        return error_for(Refusal(Code.CONFIG_INVALID, line))
