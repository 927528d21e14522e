"""Turns what goes wrong on the way to a host into one line that says the next step."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from orchestrator_core.errors import Code, Refusal

__all__ = ["Attempt", "first_line", "refusal_of"]

_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to log in, as far as it went: whom we meant, whom we met, and with which keys."""

    name: str
    """What the person wrote; `llorch host trust` takes the same."""
    place: str = ""
    """Host and port."""
    user: str = ""
    known: tuple[str, ...] = ()
    """Fingerprints that known_hosts holds under this name."""
    shown: str | None = None
    """The fingerprint that the host showed and that was not known."""
    locked_keys: tuple[Path, ...] = ()
    timeout_s: float = 0.0


def first_line(text: str) -> str:
    """One printable line of what somebody else wrote."""
    line = "".join(char if char.isprintable() else " " for char in text.strip())
    return " ".join(line.split())[:_SHOWN]


def refusal_of(error: Exception, attempt: Attempt) -> Refusal:
    """Say why there is no connection."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.KeyExchangeFailed):
        return _of_host_key(error, attempt)
    if isinstance(error, asyncssh.PermissionDenied):
        return Refusal(Code.HOST_REFUSED, _login_refused(attempt))
    if isinstance(error, TimeoutError):
        line = f"{attempt.name} gives no answer within {attempt.timeout_s:g} s: is it up and awake?"
        return Refusal(Code.TIMEOUT, line)
    if isinstance(error, asyncssh.Error):
        return _of_protocol(error, attempt)
    if isinstance(error, OSError):
        return Refusal(Code.UNREACHABLE, _no_way(error, attempt))
    # What is left are settings: a key file that nobody can read, an algorithm that nobody knows.
    line = f"the login at {attempt.name} cannot begin: {first_line(str(error))}"
    return Refusal(Code.CONFIG_INVALID, line)


def _of_host_key(error: asyncssh.Error, attempt: Attempt) -> Refusal:
    if isinstance(error, asyncssh.KeyExchangeFailed) and "host key" not in error.reason:
        line = f"{attempt.name} and this machine agree on no way to encrypt: {_reason(error)}"
        return Refusal(Code.HOST_REFUSED, line)
    if "revoked" in error.reason:
        line = f"the host key of {attempt.name} is marked as revoked in known_hosts: do not use it"
        return Refusal(Code.HOST_KEY_CHANGED, line)
    if attempt.known:
        return Refusal(Code.HOST_KEY_CHANGED, _key_changed(attempt))
    if attempt.shown is None:
        line = f"{attempt.name} and this machine agree on no kind of host key: {_reason(error)}"
        return Refusal(Code.HOST_REFUSED, line)
    details = {"host": attempt.name, "fingerprint": attempt.shown}
    line = (
        f"the host key of {attempt.name} ({attempt.shown}) is not known: compare it and run: "
        f"llorch host trust {attempt.name}"
    )
    return Refusal(Code.HOST_KEY_UNKNOWN, line, details)


def _key_changed(attempt: Attempt) -> str:
    was = _all(attempt.known)
    now = f"is {attempt.shown} now" if attempt.shown else "is of another kind now"
    return (
        f"the host key of {attempt.name} was {was} and {now}: somebody may listen in; "
        "if the host was reinstalled, compare the key and run: "
        f"llorch host trust {attempt.name} --replace"
    )


def _login_refused(attempt: Attempt) -> str:
    whom = f"{attempt.name} lets user {attempt.user} in with none of our keys"
    if attempt.locked_keys:
        locked = _all([str(path) for path in attempt.locked_keys])
        return f"{whom}; {locked} has a passphrase: use ssh-agent, and unlock it with ssh-add"
    return f"{whom}: add one to its authorized_keys (ssh-copy-id), or name another user"


def _of_protocol(error: asyncssh.Error, attempt: Attempt) -> Refusal:
    reason = _reason(error)
    if "Too many authentication failures" in reason:
        line = (
            f"{attempt.name} has turned us away after too many keys: name one for it with "
            "IdentityFile and IdentitiesOnly yes in ~/.ssh/config"
        )
        return Refusal(Code.HOST_REFUSED, line)
    if isinstance(error, asyncssh.ConnectionLost):
        line = f"{attempt.place} closed the connection during the login ({reason}): try again"
        return Refusal(Code.UNREACHABLE, line)
    if isinstance(error, asyncssh.ChannelOpenError):
        line = f"the host in front of {attempt.name} cannot reach {attempt.place}: {reason}"
        return Refusal(Code.UNREACHABLE, line)
    line = f"what answers at {attempt.place} does not speak SSH as we do: {reason}"
    return Refusal(Code.UNREACHABLE, line)


def _no_way(error: OSError, attempt: Attempt) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens for SSH at {attempt.place}: start sshd there, or name its port"
    if isinstance(error, socket.gaierror):
        return f"this machine finds no address for {attempt.place}: correct the name, or add it"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"there is no way to {attempt.place}: is it up, and in the same network?"
    if error.filename is not None:
        # A program or a file that the configuration names.
        return f"the way to {attempt.name} needs {error.filename}: {error.strerror}"
    if isinstance(error, ConnectionError):
        return f"{attempt.place} closed the connection during the login: try again"
    return f"{attempt.name} cannot be reached at {attempt.place}: {first_line(str(error))}"


def _reason(error: asyncssh.Error) -> str:
    return first_line(error.reason)


def _all(words: Sequence[str]) -> str:
    return ", ".join(words)
