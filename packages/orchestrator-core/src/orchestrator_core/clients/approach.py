"""What is learned of a daemon before it is told anything: its certificate, our way to it."""

import hashlib
import hmac
import socket
import ssl
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["facing_address", "fetch_certificate"]

_TIMEOUT_S: Final = 10.0


def fetch_certificate(url: str, host: str, port: int, *, sha256: str) -> str | Refusal:
    """Fetch the certificate that is shown there; PEM if it is the one with this fingerprint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Whoever shows it proves nothing yet: the fingerprint decides, and every call after this one
    # takes exactly this certificate.
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            der = secure.getpeercert(binary_form=True) or b""
    except ssl.SSLError:
        return Refusal(Code.UNREACHABLE, f"{url} does not speak HTTPS")
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
        return Refusal(Code.UNREACHABLE, f"{url} cannot be reached: {reason or error}")
    shown = hashlib.sha256(der).hexdigest()
    if not hmac.compare_digest(shown, sha256):
        text = f"{url} shows another certificate than the fingerprint says: sha256:{shown}"
        return Refusal(Code.HOST_REFUSED, f"{text}; join nothing until you know why")
    return ssl.DER_cert_to_PEM_cert(der)


def facing_address(host: str, port: int) -> str | Refusal:
    """The address of this host that its way to another begins at; nothing is sent."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        return Refusal(Code.UNREACHABLE, f"there is no way to {host}: {error.strerror}")
