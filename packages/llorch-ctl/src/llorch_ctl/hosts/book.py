"""The hosts of llorch.toml: read whole, written one table at a time, other text left as it is."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, cast

from llorch_ctl.hosts.entries import HostEntry, read_entry, shown, spell_entry, unfit_name
from llorch_ctl.hosts.locking import locked
from llorch_ctl.hosts.tables import with_table, without_table
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import read_destination
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.platforms import files

__all__ = ["HostBook", "HostEntry"]

T = TypeVar("T")

_TABLE: Final = "hosts"
_SIZE_MAX_BYTES: Final = 1 << 20
_HOSTS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class HostBook:
    """The hosts that this user has named."""

    file: Path

    @classmethod
    def of(cls, settings: CliSettings) -> "HostBook":
        """The book of this installation; nothing is read yet."""
        return cls(settings.layout.config_file("llorch"))

    def entries(self) -> list[HostEntry]:
        """Every host, in the order of the file; a file that is wrong is an error."""
        tables = self._tables(self._text())
        found = [read_entry(name, table, self.file.parent) for name, table in tables.items()]
        return [_sound(entry) for entry in found]

    def find(self, name: str) -> HostEntry | Refusal:
        """The host of this name; without an entry it is what ssh makes of it."""
        tables = self._tables(self._text())
        if name in tables:
            return read_entry(name, tables[name], self.file.parent)
        destination = read_destination(name)
        if isinstance(destination, Refusal):
            line = f"{shown(name)} is no host: name one of llorch.toml, or [USER@]HOST[:PORT]"
            return Refusal(Code.INVALID_REQUEST, line)
        return HostEntry(name, destination)

    def put(self, entry: HostEntry) -> None:
        """Write one host, new or changed."""
        refusal = unfit_name(entry.name)
        if refusal is not None:
            raise error_for(refusal)
        self._change(lambda text: with_table(text, entry.name, spell_entry(entry)))

    def remove(self, name: str) -> bool:
        """Take one host out; False when it was not there."""
        if name not in self._tables(self._text()):
            return False
        self._change(lambda text: without_table(text, name))
        return True

    def _change(self, edit: Callable[[str], str | Refusal]) -> None:
        try:
            files.ensure_folder(self.file.parent)
            with locked(self.file):
                text = self._text()
                self._tables(text)
                self._write(_sound(edit(text)))
        except OSError as error:
            raise self._unusable(error) from error

    def _write(self, text: str) -> None:
        # A link stays a link: many keep their settings in a folder of their own.
        target = self.file.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        files.write_atomically(target, text.encode("utf-8"), mode=mode)

    def _text(self) -> str:
        try:
            with self.file.open("rb") as stream:
                data = stream.read(_SIZE_MAX_BYTES + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._unusable(error) from error
        if len(data) > _SIZE_MAX_BYTES:
            raise error_for(self._invalid("it is larger than 1 MiB"))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise error_for(self._invalid("it is not UTF-8 text")) from error

    def _tables(self, text: str) -> dict[str, object]:
        try:
            tree: dict[str, object] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise error_for(self._invalid(str(error))) from error
        for key in tree:
            if key != _TABLE:
                line = f"unknown key {shown(key)}; hosts stand in [hosts.NAME] tables"
                raise error_for(self._invalid(line))
        found = tree.get(_TABLE, {})
        if not isinstance(found, dict):
            raise error_for(self._invalid("hosts stand in [hosts.NAME] tables"))
        tables = cast("dict[str, object]", found)
        if len(tables) > _HOSTS_MAX:
            raise error_for(self._invalid(f"it names more than {_HOSTS_MAX} hosts"))
        return tables

    def _invalid(self, reason: str) -> Refusal:
        return Refusal(Code.CONFIG_INVALID, f"{self.file.name}: {reason}", {"file": str(self.file)})

    def _unusable(self, error: OSError) -> Exception:
        line = f"cannot use {error.filename or self.file}: {error.strerror}"
        return error_for(Refusal(Code.CONFIG_INVALID, line))


def _sound(found: T | Refusal) -> T:
    if isinstance(found, Refusal):
        raise error_for(found)
    return found
