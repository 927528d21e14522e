"""Certificates and keys for tests of HTTPS; they open nothing, and most last until the year 2120."""

from pathlib import Path

__all__ = [
    "AUTHORITY", "EXPIRED", "KEY", "LOCAL", "LOCKED_KEY", "OTHER_KEY", "SELF_SIGNED", "SIGNED",
    "tls_files",
]  # fmt: skip

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBSTCB8aADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWF1dGhvcml0
eTAgFw0wMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
YXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdYQxj1emnG1Eqn8q
YWQCqnlNWh8XlE3ZsrFE9o93zoMjDaaE2sn8ysJhEtB22ENt3jtoVToqZ7NTUSFu
LbVO0aMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUdn8yPPejObvAKjQY
HmBFjX1sQn4wCgYIKoZIzj0EAwIDRwAwRAIgUMubKsM3V62BS8bupR6xOFrCh6fM
jJQ+vNuae2J9dzcCIDPtefE/gej14EATIhBoGCPGNn7/uzV9ghm79awfnlfF
-----END CERTIFICATE-----
"""
"""Vouches for SIGNED and LOCAL."""

SIGNED = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwIBcNMDAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBYxFDASBgNVBAMM
C2JveC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiOLqj6r01u9m
rJ0c/UTsbnWVmLr4Fl8SjwtXJHDRVUJMmppzDO/wLDiQEY69uINN/5ENSfaD1wOV
d44MNCa6eKN6MHgwCQYDVR0TBAIwADAWBgNVHREEDzANggtib3guZXhhbXBsZTAT
BgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUR8d+aw0cz72mbd6GkJvkLg7b
Q7owHwYDVR0jBBgwFoAUdn8yPPejObvAKjQYHmBFjX1sQn4wCgYIKoZIzj0EAwID
SAAwRQIgbCjKMZbkxmpbcbWzsO0XS6rk+xAEKOjyJvwY2PuTNKwCIQC6VvN0XZiN
RcrEAUJx1kdLBoaPm3k3lVIxuomlckWgHg==
-----END CERTIFICATE-----
"""
"""For box.example, signed by the authority."""

LOCAL = """\
-----BEGIN CERTIFICATE-----
MIIBgzCCASigAwIBAgIBAzAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwIBcNMDAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIji6o+q9NbvZqyd
HP1E7G51lZi6+BZfEo8LVyRw0VVCTJqacwzv8Cw4kBGOvbiDTf+RDUn2g9cDlXeO
DDQmunijaTBnMAkGA1UdEwQCMAAwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAAB
MB0GA1UdDgQWBBRHx35rDRzPvaZt3oaQm+QuDttDujAfBgNVHSMEGDAWgBR2fzI8
96M5u8AqNBgeYEWNfWxCfjAKBggqhkjOPQQDAgNJADBGAiEAhtLaYFreFlGDnNB9
URbDZPxxNPHQ3CxEq9HqptUblDQCIQD+i/6mddDisn8DJRgQzH3cN1vMqVPdz7mS
wbkXWkcPVQ==
-----END CERTIFICATE-----
"""
"""For localhost and 127.0.0.1, signed by the authority."""

SELF_SIGNED = """\
-----BEGIN CERTIFICATE-----
MIIBYDCCAQegAwIBAgIBBTAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMDAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIji6o+q9NbvZqyd
HP1E7G51lZi6+BZfEo8LVyRw0VVCTJqacwzv8Cw4kBGOvbiDTf+RDUn2g9cDlXeO
DDQmunijSDBGMAkGA1UdEwQCMAAwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAAB
MB0GA1UdDgQWBBRHx35rDRzPvaZt3oaQm+QuDttDujAKBggqhkjOPQQDAgNHADBE
AiBaPbLLo4nMasnI88y91R8hWW/PbEFedLvbS8edLgeNewIgSIiGSHLifp1Covyq
FE7uj0SVa/E3zX/CwO5sTrNmEPM=
-----END CERTIFICATE-----
"""
"""For localhost and 127.0.0.1, vouched for by nobody."""

EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBYDCCAQWgAwIBAgIBBDAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASI4uqPqvTW72asnRz9
ROxudZWYuvgWXxKPC1ckcNFVQkyamnMM7/AsOJARjr24g03/kQ1J9oPXA5V3jgw0
Jrp4o0gwRjAJBgNVHRMEAjAAMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAd
BgNVHQ4EFgQUR8d+aw0cz72mbd6GkJvkLg7bQ7owCgYIKoZIzj0EAwIDSQAwRgIh
APZBBzj6Z/AhBs4WCR14iGXBQCBlk4v35zTFKLOQwSGqAiEA9QRy0dVyQP1qMLaR
M+TP3LLiV0IVzzad1/j3Vt2OJPM=
-----END CERTIFICATE-----
"""
"""As SELF_SIGNED, until the year 2001."""

KEY = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIIGnJ7LygoMYNKGaVcAfSbCq0RyoMhBItB96aLCKn0TWoAoGCCqGSM49
AwEHoUQDQgAEiOLqj6r01u9mrJ0c/UTsbnWVmLr4Fl8SjwtXJHDRVUJMmppzDO/w
LDiQEY69uINN/5ENSfaD1wOVd44MNCa6eA==
-----END EC PRIVATE KEY-----
"""
"""Belongs to every certificate but the authority's."""

OTHER_KEY = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIKXoF/74nh7yu8z2AywEoI55AXdStKExtnoIFnDnE1iToAoGCCqGSM49
AwEHoUQDQgAEM4aYNHaEjnrE1PuMU+hMpHIi5VBMBzE7N0p0MKIjCMd9pMVa8zNv
25d4/YiYanuv3gxg+lvfuO7srroR99uJ3g==
-----END EC PRIVATE KEY-----
"""
"""Belongs to none of them."""

LOCKED_KEY = """\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,589128C5E9E07CA2C209EF78156973D3

BvkBji4C86vXqraYYynzYBBs0bRwetvnWevAetXLcyda1ShmooU3mEQxjqxjz7yv
pnti3N7/aBueRfYnYnlzKp2PY+72V6ClEUZLgDbaOuaNBvd+0t9pStuwdzoqwJPO
EqXQQgR+mGf0jARCIrGkpco+ThaODEMi1zxW/0VTKAw=
-----END EC PRIVATE KEY-----
"""
"""The key behind a passphrase."""


def tls_files(folder: Path, cert: str = SELF_SIGNED, key: str = KEY) -> tuple[Path, Path]:
    """Write a certificate and a key as a daemon wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_text(cert, "ascii")
    key_file.write_text(key, "ascii")
    key_file.chmod(0o600)
    return cert_file, key_file
