"""Whose certificate a client takes over HTTPS when the system's own list shall not decide.

An authority's file vouches for names. A daemon of this machine is known by its one certificate:
then its name and its time do not matter, because nobody else holds its private key.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.control import RunFile
from orchestrator_core.errors import Code, Refusal, RequestError

__all__ = ["Trust"]

# OpenSSL's flag: Python has no name for it. What is known to be the peer's own does not age.
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Trust:
    """A file of certificates in PEM form, and whether its first one alone is the peer's own."""

    file: Path
    is_peers_own: bool = False

    @classmethod
    def in_run_file(cls, run: RunFile) -> "Trust | None":
        """The certificate that a daemon of this machine has told in its run file."""
        return None if run.ca_file is None else cls(Path(run.ca_file), is_peers_own=True)

    def context(self) -> ssl.SSLContext:
        """Read the file as it is now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            text = self.file.read_text("ascii")
            if self.is_peers_own:
                context.check_hostname = False
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
                first, end, _ = text.partition(_END)
                text = first + end
            context.load_verify_locations(cadata=text)
        except (OSError, ValueError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            message = f"cannot use the certificate in {self.file}: {reason}"
            raise RequestError(Refusal(Code.CONFIG_INVALID, message)) from error
        return context
