"""Keeps what opens the pool-managerd of a host by HTTP: its key, and the certificate of its port."""

import asyncio
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.door import Door
from llorch_ctl.enrolment.host_files import HostPaths
from llorch_ctl.enrolment.joining import is_loopback
from llorch_ctl.hosts.entries import HostEntry
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files

__all__ = ["PoolKeys"]

_KEY: Final = re.compile(r"[\x21-\x7e]{16,512}", re.ASCII)
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_EVERYWHERE: Final = ("0.0.0.0", "[::]")  # noqa: S104 - compared, never listened on.


@dataclass(frozen=True, slots=True)
class PoolKeys:
    """The folder of this machine in which they lie, one pair of files per host."""

    folder: Path

    async def fetch(self, door: Door, paths: HostPaths, bind: str) -> HostEntry | Refusal:
        """Take them from the host, and tell the entry that uses them; a person's own key stays."""
        entry, key_file = door.entry, self._key_file(door.name)
        if entry.key_file not in (None, key_file):
            return entry
        key = await door.script(scripts.take_file(paths.pool_key), f"reading {paths.pool_key}")
        if isinstance(key, Refusal):
            return key
        if not _KEY.fullmatch(key.strip()):
            line = f"{door.name}: {paths.pool_key} holds no key: start pool-managerd there anew"
            return Refusal(Code.DATA_CORRUPT, line)
        await asyncio.to_thread(self._write, key_file, f"{key.strip()}\n")
        return await self._with_port(door, replace(entry, key_file=key_file), paths, bind)

    def forget(self, name: str) -> None:
        """Remove what was kept of a host."""
        for file in (self._key_file(name), self._certificate_file(name)):
            file.unlink(missing_ok=True)

    async def _with_port(
        self, door: Door, entry: HostEntry, paths: HostPaths, bind: str
    ) -> HostEntry | Refusal:
        host = bind.rpartition(":")[0]
        if is_loopback(host):
            return entry
        text = await door.script(
            scripts.take_file(paths.pool_certificate), f"reading {paths.pool_certificate}"
        )
        if isinstance(text, Refusal):
            return text
        if not text.startswith(_BEGIN) or not text.isascii():
            return entry
        file = self._certificate_file(door.name)
        await asyncio.to_thread(self._write, file, text)
        url = None if host in _EVERYWHERE else f"https://{bind}"
        return replace(entry, ca=entry.ca or file, url=entry.url or url)

    def _write(self, file: Path, text: str) -> None:
        files.ensure_folder(self.folder)
        files.write_atomically(file, text.encode("ascii"))

    def _key_file(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def _certificate_file(self, name: str) -> Path:
        return self.folder / f"{name}.crt"
