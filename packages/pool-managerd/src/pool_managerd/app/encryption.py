"""Decides whether the pool's port speaks HTTPS, and by which certificate.

An operator may name one; else the pool makes its own where other hosts can reach the port, since
an orchestrator pins exactly that certificate when the pool joins.
"""

import socket
import stat
from pathlib import Path
from typing import Final

from orchestrator_core.clock import SystemClock
from orchestrator_core.config.layout import Layout
from orchestrator_core.daemon.settings import is_loopback
from orchestrator_core.daemon.tls import ServerTls, open_tls
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import sockets
from pool_managerd.settings import PoolSettings

__all__ = ["open_named_tls", "open_own_tls", "shown_certificate", "wants_own_tls"]

_END: Final = "-----END CERTIFICATE-----"
_SHOWN_MAX: Final = 16_384


def open_named_tls(settings: PoolSettings) -> ServerTls | Refusal | None:
    """Read the certificate that an operator has named; None where none is."""
    if settings.tls is False and (settings.tls_cert or settings.tls_key):
        text = "tls = false says plain HTTP, and tls_cert says HTTPS: remove one of them"
        return Refusal(Code.CONFIG_INVALID, text)
    return open_tls(settings.tls_cert, settings.tls_key)


def wants_own_tls(settings: PoolSettings) -> bool:
    """Tell whether the pool shows a certificate of its own."""
    if settings.tls_cert is not None or settings.tls is False:
        return False
    if settings.tls:
        return True
    address = sockets.parse_bind(settings.bind)
    if isinstance(address, Refusal) or settings.insecure_lan:
        return False
    return not is_loopback(address[0])


def open_own_tls(settings: PoolSettings, layout: Layout) -> ServerTls | Refusal:
    """Read the pool's own certificate, or make it once; it survives restarts."""
    cert, key = layout.pool_tls_cert, layout.pool_tls_key
    if not (cert.exists() and key.exists()):
        address = sockets.parse_bind(settings.bind)
        if isinstance(address, Refusal):
            return address
        refusal = _make(cert, key, address[0])
        if refusal is not None:
            return refusal
    elif key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        key.chmod(0o600)
    opened = open_tls(cert, key)
    if isinstance(opened, Refusal):
        hint = f"remove {cert} and {key}, start again, and let the orchestrator join anew"
        return Refusal(opened.code, f"{opened.message}; if it is damaged, {hint}")
    if opened is None:
        raise AssertionError("both files are named")
    return opened


def shown_certificate(tls: ServerTls | None) -> str | None:
    """What the port shows, without those who vouch for it; None for plain HTTP."""
    if tls is None:
        return None
    first, end, _ = tls.cert_file.read_text("ascii", errors="replace").partition(_END)
    # An operator's file may begin with words; who is told wants the certificate alone.
    shown = first[first.find("-----BEGIN CERTIFICATE-----") :] + end
    return shown if end and len(shown) <= _SHOWN_MAX else None


def _make(cert: Path, key: Path, host: str) -> Refusal | None:
    try:
        # It takes long to load, and not every processor has it.
        from pool_managerd.app.certificate import make_certificate
    except ImportError as error:
        text = f"no certificate can be made here, for the library cryptography fails: {error}"
        return Refusal(Code.CONFIG_INVALID, f"{text}; name one with tls_cert and tls_key")
    names = (socket.gethostname(), host)
    make_certificate(cert, key, names=names, now_unix_s=SystemClock().unix_ms() / 1000)
    return None
