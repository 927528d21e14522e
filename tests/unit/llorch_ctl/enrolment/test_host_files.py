"""The line that lets the orchestrator in at a host, and what it never lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.enrolment.host_files import authorized_line, key_blob
from orchestrator_core.errors import Code, Refusal

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl5ZXNlZXlvdWhlcmVhbmR0aGVyZQ llorch"
PROGRAM = "/users/me/.local/share/llorch/current/bin/llorch-pool"


def test_the_line_opens_tunnels_to_loopback_and_llorch_pool_and_nothing_else() -> None:
    assert authorized_line(PROGRAM, KEY, "https://hub:8080") == (
        'restrict,port-forwarding,permitopen="127.0.0.1:*",'
        f"command=\"'{PROGRAM}' remote-exec\" "
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl5ZXNlZXlvdWhlcmVhbmR0aGVyZQ llorch:https://hub:8080"
    )


@pytest.mark.parametrize("program", ["llorch-pool", '/a"b', "/a'b", "/a\\b", "/a\nb", "/a!b"])
def test_a_program_that_could_break_out_of_the_line_is_refused(program: str) -> None:
    assert isinstance(authorized_line(program, KEY, "hub"), Refusal)


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 short", "rm -rf /", "-oX AAAA"])
def test_what_is_no_public_key_is_refused(key: str) -> None:
    for answer in (authorized_line(PROGRAM, key, "hub"), key_blob(key)):
        assert isinstance(answer, Refusal)
        assert answer.code is Code.DATA_CORRUPT


@given(st.text())
def test_a_comment_never_makes_a_second_line_or_key(comment: str) -> None:
    line = authorized_line(PROGRAM, KEY, comment)
    assert isinstance(line, str)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line.split(" ")) == 5
