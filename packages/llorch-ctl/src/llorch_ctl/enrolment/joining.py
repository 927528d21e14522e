"""Spells the command by which a host without SSH joins, and finds what it must be told."""

import base64
import binascii
import hashlib
import ipaddress
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator_core.errors import Code, Refusal

__all__ = ["PushWay", "certificate_pin", "is_loopback", "join_command", "push_way"]


@dataclass(frozen=True, slots=True)
class PushWay:
    """How a host that joins by itself finds the orchestrator; pin is its certificate's sha256."""

    url: str
    pin: str | None


def push_way(url: str, certificate: Path | None) -> PushWay | Refusal:
    """How a host gets to the orchestrator by itself; certificate is the orchestrator's own one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        line = (
            f"the orchestrator is known as {url}, which only this machine reaches: give the "
            "address that the host reaches with --url https://HOST:PORT"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    if parts.scheme != "https":
        line = (
            f"{url} is not encrypted: a host joins over https only; "
            "give orchestratord a certificate"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    pin = certificate_pin(certificate) if certificate is not None else None
    return pin if isinstance(pin, Refusal) else PushWay(url, pin)


def certificate_pin(file: Path) -> str | Refusal:
    """The sha256 of the first certificate of a file, as the host will see it."""
    try:
        text = file.read_text("ascii")
        found = re.search(r"-----BEGIN CERTIFICATE-----(.+?)-----END", text, re.DOTALL)
        content = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except (OSError, ValueError, binascii.Error):
        content = b""
    if not content:
        line = f"{file} holds no certificate in PEM form"
        return Refusal(Code.CONFIG_INVALID, line)
    return hashlib.sha256(content).hexdigest()


def join_command(way: PushWay, name: str, token: str) -> str:
    """One line for any POSIX shell."""
    argv = ["llorch-pool", "daemon", "join", "--url", way.url, "--token", token]
    argv += ["--ca-sha256", way.pin] if way.pin else []
    return shlex.join([*argv, "--name", name])


def is_loopback(host: str) -> bool:
    """Whether only the machine itself reaches this address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
