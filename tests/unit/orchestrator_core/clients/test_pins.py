"""What is pinned as the certificate of a peer, and what never is."""

import hashlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.clients.pins import PinnedCertificate, fingerprint_of, read_certificate
from orchestrator_core.errors import Code, Refusal
from support.certificates import AUTHORITY, EXPIRED, KEY, SELF_SIGNED, SIGNED


@pytest.mark.parametrize("pem", [SELF_SIGNED, SIGNED, AUTHORITY, EXPIRED])
def test_a_certificate_is_read_and_told_by_its_fingerprint(pem: str) -> None:
    found = read_certificate(pem)
    assert isinstance(found, PinnedCertificate)
    assert found.pem == pem
    assert found.sha256 == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("-----END", "\n\n-----END")])
def test_it_is_written_anew(change: tuple[str, str]) -> None:
    found = read_certificate(f"\n {SELF_SIGNED.replace(*change)}\n")
    assert isinstance(found, PinnedCertificate)
    assert found.pem == SELF_SIGNED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        KEY,
        SELF_SIGNED + AUTHORITY,
        SELF_SIGNED + KEY,
        f"comment\n{SELF_SIGNED}",
        SELF_SIGNED.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        SELF_SIGNED[:200],
        SELF_SIGNED + " " * 16_384,
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    found = read_certificate(text)
    assert isinstance(found, Refusal)
    assert found.code is Code.INVALID_REQUEST
    assert found.details == {"param": "certificate"}
    assert "\n" not in found.message


@given(st.integers(0, len(SELF_SIGNED) - 1), st.characters(max_codepoint=0x2FF))
def test_no_spoilt_certificate_raises_anything(place: int, letter: str) -> None:
    spoilt = SELF_SIGNED[:place] + letter + SELF_SIGNED[place + 1 :]
    assert isinstance(read_certificate(spoilt), PinnedCertificate | Refusal)


@pytest.mark.parametrize("pem", [SELF_SIGNED, SIGNED, AUTHORITY])
def test_a_pinned_certificate_is_told_by_its_fingerprint_without_reading_it_anew(pem: str) -> None:
    found = read_certificate(pem)
    assert isinstance(found, PinnedCertificate)
    assert fingerprint_of(found.pem) == found.sha256
    assert fingerprint_of("x") is None
