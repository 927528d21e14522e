"""The command for a host without SSH."""

import hashlib
import shlex
import ssl
from pathlib import Path

import pytest

from llorch_ctl.enrolment.joining import PushWay, certificate_pin, join_command, push_way
from orchestrator_core.errors import Refusal
from support.certificates import SELF_SIGNED


def test_the_command_says_everything_that_the_host_needs() -> None:
    way = PushWay("https://hub:8080", "ab" * 32)
    assert shlex.split(join_command(way, "mac", "a'token")) == [
        *("llorch-pool", "daemon", "join", "--url", "https://hub:8080", "--token", "a'token"),
        *("--ca-sha256", "ab" * 32, "--name", "mac"),
    ]


def test_a_public_certificate_needs_no_pin() -> None:
    assert "--ca-sha256" not in join_command(PushWay("https://hub", None), "mac", "t")


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8080", "https://localhost", "https://[::1]:8080", "http://hub:8080"]
)
def test_an_address_that_a_host_cannot_use_is_refused(url: str) -> None:
    refusal = push_way(url, None)
    assert isinstance(refusal, Refusal)
    assert len(refusal.message.splitlines()) == 1


def test_the_pin_is_the_digest_of_what_the_host_will_see(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text(SELF_SIGNED)
    shown = ssl.PEM_cert_to_DER_cert(SELF_SIGNED)
    assert push_way("https://hub:8080", file) == PushWay(
        "https://hub:8080", hashlib.sha256(shown).hexdigest()
    )


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    assert isinstance(certificate_pin(file), Refusal)
    file.write_text("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")
    assert isinstance(certificate_pin(file), Refusal)
