"""Why there is no connection, in one line; a false alarm is worse than none."""

import asyncssh
import pytest

from orchestrator_core.clients.ssh.refusals import Attempt, refusal_of
from orchestrator_core.errors import Code

KNOWN = Attempt("mac", place="10.0.0.2:22", known=("SHA256:old",), timeout_s=10)


@pytest.mark.parametrize("what", ["key exchange", "encryption", "MAC", "compression"])
def test_no_way_to_encrypt_in_common_is_no_changed_key(what: str) -> None:
    error = asyncssh.KeyExchangeFailed(f"No matching {what} algorithm found, sent a and received b")
    refusal = refusal_of(error, KNOWN)
    assert refusal.code is Code.HOST_REFUSED
    assert refusal.message.startswith("mac and this machine agree on no way to encrypt: ")


def test_a_file_or_program_that_the_configuration_names_is_named() -> None:
    refusal = refusal_of(FileNotFoundError(2, "No such file or directory", "/no/such"), KNOWN)
    assert refusal.message == "the way to mac needs /no/such: No such file or directory"


def test_what_a_host_says_of_itself_is_shown_harmlessly() -> None:
    refusal = refusal_of(asyncssh.ProtocolError("\x1b[2J\nboo" + "x" * 1000), KNOWN)
    assert refusal.message.isprintable()
    assert len(refusal.message) < 300
