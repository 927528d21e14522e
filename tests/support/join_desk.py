"""A desk that gives a pool's credential for the token that lies in a folder of the test."""

import time
from collections.abc import Callable
from pathlib import Path

from pool_managerd.runtime.joining import JoinDesk
from pool_managerd.runtime.keyring import Keyring

__all__ = ["join_desk", "lay_token"]


def join_desk(
    folder: Path,
    keyring: Keyring,
    *,
    unix_s: Callable[[], float] = time.time,
    monotonic_s: Callable[[], float] = time.monotonic,
    on_joined: Callable[[], None] = lambda: None,
) -> JoinDesk:
    """A desk over join.token and orchestrator.cred of this folder."""
    return JoinDesk(
        token_file=folder / "join.token",
        credential_file=folder / "orchestrator.cred",
        keyring=keyring,
        unix_s=unix_s,
        monotonic_s=monotonic_s,
        on_joined=on_joined,
    )


def lay_token(folder: Path, token: str = "a-token-of-this-test") -> str:
    """Leave a token as an enrolment does."""
    path = folder / "join.token"
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return token
