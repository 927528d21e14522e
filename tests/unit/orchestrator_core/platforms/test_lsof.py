"""Who listens, read from what lsof and netstat of macOS print."""

import os
import sys

import pytest

from orchestrator_core.errors import HostError
from orchestrator_core.platforms.lsof import Listener, is_listening, listener, run_program
from support.fake_macos import netstat_text


def test_first_process_is_taken_with_all_its_fields() -> None:
    text = "p812\ncllama server\nu501\nf5\nf6\np900\ncother\nu0\nf3\n"
    assert listener(8080, lambda _argv: text) == Listener(812, "llama server", 501)


@pytest.mark.parametrize("text", ["", "\n", "pnone\n", "lsof: WARNING: can't stat() nfs\n"])
def test_nothing_to_read_is_nobody(text: str) -> None:
    assert listener(8080, lambda _argv: text) is None


def test_missing_user_is_unknown() -> None:
    assert listener(8080, lambda _argv: "p812\ncx\n") == Listener(812, "x", None)


@pytest.mark.parametrize(
    ("port", "expected"), [(8080, True), (22, True), (2, False), (80, False), (51234, False)]
)
def test_only_a_listening_local_port_counts(port: int, expected: bool) -> None:
    assert is_listening(port, lambda _argv: netstat_text(8080)) is expected


def test_program_that_finds_nothing_has_answered() -> None:
    script = "import sys; print(len(sys.argv)); sys.exit(1)"
    assert run_program([sys.executable, "-c", script]) == f"1{os.linesep}"


def test_missing_program_is_named() -> None:
    with pytest.raises(HostError, match="no-such-lsof"):
        run_program(["no-such-lsof"])
