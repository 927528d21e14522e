"""Private keys as files: which are locked by a passphrase, and a key of our own made on first need."""

import base64
import binascii
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncssh

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["DEFAULT_KEY_NAMES", "ensure_client_key", "is_locked", "locked_among"]

DEFAULT_KEY_NAMES: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"
_KEY_BYTES_MAX: Final = 65_536


def ensure_client_key(path: Path, *, comment: str = "llorch") -> str:
    """Return the public line of the key in this place; the first call makes the key."""
    if not path.exists():
        _make(path, comment)
    try:
        key = asyncssh.read_private_key(path)
    except (OSError, ValueError) as error:
        line = f"{path} is no SSH key that can be read ({error}): move it away to get a new one"
        raise HostError(Refusal(Code.CONFIG_INVALID, line)) from error
    return key.export_public_key().decode("ascii").strip()


def _make(path: Path, comment: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = asyncssh.generate_private_key(  # pyright: ignore[reportUnknownMemberType] - its options are untyped.
        "ssh-ed25519", comment=comment
    )
    # Closed to everybody else from the first byte on.
    file, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(file, "wb") as private:
            private.write(key.export_private_key())
            private.flush()
            os.fsync(private.fileno())
        # A link fails where somebody was faster, so that both use the same key.
        path.hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def locked_among(files: Sequence[Path]) -> tuple[Path, ...]:
    """Which of these files are keys with a passphrase."""
    found: list[Path] = []
    for path in files:
        try:
            with path.open("rb") as file:
                data = file.read(_KEY_BYTES_MAX)
        except OSError:
            continue
        if is_locked(data):
            found.append(path)
    return tuple(found)


def is_locked(data: bytes) -> bool:
    """True when this is a private key that only a passphrase opens."""
    if b"ENCRYPTED" in data:
        return b"PRIVATE KEY-----" in data
    _, begun, rest = data.partition(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    if not begun:
        return False
    try:
        raw = base64.b64decode(rest.partition(b"-----")[0])
    except binascii.Error:
        return False
    cipher = raw.removeprefix(_OPENSSH_MAGIC)
    size_bytes = int.from_bytes(cipher[:4], "big")
    return raw.startswith(_OPENSSH_MAGIC) and cipher[4 : 4 + size_bytes] != b"none"
