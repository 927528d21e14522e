"""Reads the one certificate by which a peer is known from now on, and tells its fingerprint.

The text comes from the peer itself; nothing but a certificate that OpenSSL can read is kept.
"""

import base64
import binascii
import hashlib
import re
import ssl
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["PinnedCertificate", "fingerprint_of", "read_certificate"]

_LIMIT_BYTES: Final = 16_384
_PEM: Final = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+?)-----END CERTIFICATE-----\s*",
    re.ASCII,
)
_LINE: Final = 64


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A certificate in PEM form and the SHA-256 of its DER form, in hex."""

    pem: str
    sha256: str


def read_certificate(text: str) -> PinnedCertificate | Refusal:
    """Accept exactly one certificate in PEM form, and write it anew."""
    if len(text) > _LIMIT_BYTES:
        return _refusal(f"it is longer than {_LIMIT_BYTES} bytes")
    found = _PEM.fullmatch(text)
    if found is None:
        return _refusal("it is not one certificate in PEM form")
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True)
        body = base64.b64encode(der).decode("ascii")
        lines = [body[at : at + _LINE] for at in range(0, len(body), _LINE)]
        pem = "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (binascii.Error, ValueError, ssl.SSLError):
        return _refusal("no certificate can be read from it")
    return PinnedCertificate(pem, hashlib.sha256(der).hexdigest())


def fingerprint_of(pem: str) -> str | None:
    """The SHA-256 of a certificate that `read_certificate` has written: a list shows hundreds."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except ValueError:
        return None


def _refusal(why: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, f"certificate is refused: {why}", {"param": "certificate"})
