"""Makes the certificate that a pool shows on its own port: self-signed, known by being pinned."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator_core.platforms import files

__all__ = ["make_certificate"]

_LIFE: Final = timedelta(days=3653)
# A clock that was put right later must not make it look as if it came from the future.
_SLACK: Final = timedelta(days=2)
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_COMMON_NAME_MAX: Final = 64


def make_certificate(
    cert_file: Path, key_file: Path, *, names: Iterable[str], now_unix_s: float
) -> None:
    """Write a key and its certificate for these names and loopback, readable by this user only."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(key, list(_alternatives(names)), datetime.fromtimestamp(now_unix_s, UTC))
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    # A crash between the two leaves a key without a certificate: both are made anew.
    cert_file.unlink(missing_ok=True)
    files.write_atomically(key_file, secret)
    files.write_atomically(cert_file, certificate.public_bytes(pem))


def _signed(
    key: ec.EllipticCurvePrivateKey, alternatives: list[x509.GeneralName], now: datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(alternatives))])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _alternatives(names: Iterable[str]) -> Iterator[x509.GeneralName]:
    """Each name once, as an address or a host name; a name that no certificate can hold is left."""
    seen: set[str] = set()
    for name in (*names, "localhost", "127.0.0.1", "::1"):
        for one in _spellings(name):
            if one in seen or one in _WILDCARDS:
                continue
            seen.add(one)
            try:
                yield x509.IPAddress(ipaddress.ip_address(one))
            except ValueError:
                if _NAME.fullmatch(one):
                    yield x509.DNSName(one)


def _spellings(name: str) -> tuple[str, ...]:
    """A host's short name is also answered for in the local network's own domain."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return (name,) if name == "localhost" else (name, f"{name}.local")
    return (name,)


def _common_name(alternatives: list[x509.GeneralName]) -> str:
    return str(alternatives[0].value)[:_COMMON_NAME_MAX]
