"""HTTPS to a daemon that is known by one certificate, told when its host joined.

Whoever holds that certificate's private key is the daemon: its name and its time do not matter.
"""

import ssl
from typing import Final

import httpx

from orchestrator_core.errors import Code, Refusal

__all__ = ["PinnedTrust", "pinned_context", "pinned_transport"]

PinnedTrust = ssl.SSLContext
"""What trusts one daemon and nobody else."""

# OpenSSL's flag: Python has no name for it. What is known to be the peer's own does not age.
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
_END: Final = "-----END CERTIFICATE-----"


def pinned_context(certificate: str) -> ssl.SSLContext | Refusal:
    """Trust the first certificate of a PEM text and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    first, end, _ = certificate.partition(_END)
    try:
        context.load_verify_locations(cadata=first + end)
    except (ValueError, ssl.SSLError):
        message = "what was pinned is no certificate in PEM form: let the host join again"
        return Refusal(Code.CONFIG_INVALID, message)
    return context


def pinned_transport(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """What lets httpx speak to that daemon; closing its client closes it."""
    # Servers close idle connections after 5 s: keeping ours shorter avoids writing into one.
    limits = httpx.Limits(keepalive_expiry=2.0)
    return httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)
