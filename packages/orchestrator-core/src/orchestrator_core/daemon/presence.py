"""Lets commands find a daemon: its URL from the socket, its run file once it listens."""

import os
import socket
import sys
from pathlib import Path
from typing import Final

from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import runfiles
from orchestrator_core.platforms.port import Platform

__all__ = ["Presence", "url_of"]

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound


def url_of(listener: socket.socket, *, encrypted: bool = False) -> str:
    """The address that others reach this socket by."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if encrypted else "http"
    if host in _WILDCARDS:
        host = socket.gethostname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Presence:
    """The run file of this process."""

    def __init__(self, *, daemon: str, layout: Layout, platform: Platform) -> None:
        self._daemon = daemon
        self._layout = layout
        self._platform = platform

    def announce(
        self,
        *,
        url: str,
        version: str,
        instance: str,
        key_file: Path,
        ca_file: Path | None = None,
    ) -> None:
        """Say where we listen and which certificate we show; called when we do."""
        me = self._platform.identify(os.getpid())
        if me is None:
            raise AssertionError("a running process has an identity")
        log_file = self._layout.log_file(self._daemon)
        runfiles.write(
            self._layout.run_folder,
            RunFile(
                daemon=self._daemon,
                url=url,
                pid=me.pid,
                start_time=me.start_time,
                boot_id=me.boot_id,
                version=version,
                instance=instance,
                key_file=str(key_file),
                log_file=str(log_file) if _writes_to(log_file) else None,
                ca_file=None if ca_file is None else str(ca_file),
            ),
        )

    def withdraw(self) -> None:
        """Take our run file away."""
        runfiles.remove(self._layout.run_folder, self._daemon, os.getpid())


def _writes_to(log_file: Path) -> bool:
    """Tell whether our stderr goes to the file that the commands show."""
    try:
        return os.path.samestat(os.fstat(sys.stderr.fileno()), log_file.stat())
    except (OSError, ValueError):
        return False
