"""Reads the certificate and the key that a daemon serves HTTPS with, and proves that they work.

Both are read once, at the start: files that are replaced later count from the next start on.
"""

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["ServerTls", "open_tls"]

_ROUNDS: Final = 8
# OpenSSL's numbers for a certificate whose time has not come or is over.
_UNTIMELY: Final = {9: "is not valid yet", 10: "has expired"}


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server needs for HTTPS, the file that its clients have to trust, and a doubt."""

    context: ssl.SSLContext
    cert_file: Path
    doubt: str | None


def open_tls(cert: Path | None, key: Path | None) -> ServerTls | Refusal | None:
    """Read both files; None where none is named, which means plain HTTP."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        return _invalid("tls_cert and tls_key belong together: set both of them or neither")
    refusal = _unreadable("tls_cert", cert) or _unreadable("tls_key", key) or _too_open(key)
    if refusal is not None:
        return refusal
    context = _loaded(cert, key)
    if isinstance(context, Refusal):
        return context
    return ServerTls(context, cert.absolute(), _doubt(context, cert))


def _unreadable(name: str, path: Path) -> Refusal | None:
    try:
        path.read_bytes()
    except OSError as error:
        return _invalid(f"{name}: cannot read {path}: {error.strerror}")
    return None


def _too_open(key: Path) -> Refusal | None:
    # A group of the system may hold it, as certificate tools set it up; everybody must not.
    if key.stat().st_mode & stat.S_IRWXO:
        text = f"tls_key: every user of this machine may open {key}: run `chmod 600 {key}`"
        return _invalid(text)
    return None


def _loaded(cert: Path, key: Path) -> ssl.SSLContext | Refusal:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    is_locked = False

    def no_passphrase() -> str:
        # Without this OpenSSL would ask on the terminal and wait for ever.
        nonlocal is_locked
        is_locked = True
        return ""

    try:
        context.load_cert_chain(cert, key, password=no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        if is_locked:
            return _invalid(f"tls_key: {key} has a passphrase: store the key without one")
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return _invalid(f"tls_key: {key} does not belong to the certificate in {cert}")
        if not _holds_certificate(cert):
            return _invalid(f"tls_cert: {cert} holds no certificate in PEM form")
        return _invalid(f"tls_key: {key} holds no private key in PEM form that can be used")
    return context


def _holds_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _doubt(server: ssl.SSLContext, cert: Path) -> str | None:
    """Shake hands with ourselves in memory, as our own commands will, and tell what they object to."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(to_client, to_server)
    called = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        if _shakes(caller, called):
            return None
    except ssl.SSLCertVerificationError as error:
        why = _UNTIMELY.get(error.verify_code, f"is doubtful: {error.verify_message}")
        return f"the certificate in {cert} {why}"
    except ssl.SSLError as error:
        return f"the certificate in {cert} cannot be used: {error.reason}"
    return f"the certificate in {cert} leads to no connection"


def _shakes(caller: ssl.SSLObject, called: ssl.SSLObject) -> bool:
    open_sides = [caller, called]
    for _ in range(_ROUNDS):
        for side in list(open_sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_sides.remove(side)
        if not open_sides:
            return True
    return False


def _invalid(text: str) -> Refusal:
    return Refusal(Code.CONFIG_INVALID, text)
