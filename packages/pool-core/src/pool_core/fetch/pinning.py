"""Trust in one certificate alone: whoever shows it is who it was told to be, whatever its name."""

import ssl
from typing import Final

from orchestrator_core.errors import Code, Refusal, RequestError

__all__ = ["pinned_context"]

# OpenSSL's flag: Python has no name for it. What is known to be the other's own does not age.
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
_END: Final = "-----END CERTIFICATE-----"


def pinned_context(certificate: str) -> ssl.SSLContext:
    """A client's context that takes the first certificate of a PEM text and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    first, end, _ = certificate.partition(_END)
    try:
        context.load_verify_locations(cadata=first + end)
    except (ValueError, ssl.SSLError) as error:
        line = "a certificate that was told for a peer is none in PEM form"
        raise RequestError(Refusal(Code.CONFIG_INVALID, line)) from error
    return context
