"""The key by which this orchestrator logs in at its hosts; made when it is first needed."""

import asyncio
import base64
import hashlib
from pathlib import Path

from orchestrator_core.contracts.joining import SshIdentity
from orchestrator_core.errors import LlorchError, Refusal

__all__ = ["SshIdentities"]


class SshIdentities:
    """Reads or makes the one key file; the private half never leaves it."""

    def __init__(self, path: Path, comment: str) -> None:
        self._path = path
        self._comment = comment
        self._turn = asyncio.Lock()

    async def show(self) -> SshIdentity | Refusal:
        """The public half, with its fingerprint."""
        async with self._turn:
            try:
                public = await asyncio.to_thread(self._read)
            except LlorchError as problem:
                return problem.refusal
        digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
        fingerprint = base64.b64encode(digest).decode("ascii").rstrip("=")
        return SshIdentity(public_key=public, fingerprint=f"SHA256:{fingerprint}")

    def _read(self) -> str:
        # Whoever has no host to reach never loads any of it.
        from orchestrator_core.clients.ssh.client_keys import ensure_client_key

        return ensure_client_key(self._path, comment=self._comment)
