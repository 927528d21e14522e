"""The command line for a host is one constant; paths that shells read differently are refused."""

import pytest

from orchestrator_core.clients.ssh.remote_calls import DEFAULT_COMMAND, remote_command
from orchestrator_core.errors import Code, Refusal


def test_the_program_stands_between_single_quotes() -> None:
    assert remote_command("/opt/my llorch/llorch-pool") == (
        "exec '/opt/my llorch/llorch-pool' remote-exec"
    )


def test_a_host_without_an_entry_has_what_host_add_installs() -> None:
    assert DEFAULT_COMMAND == (
        'exec "$HOME/.local/share/llorch/current/bin/llorch-pool" remote-exec'
    )


@pytest.mark.parametrize(
    "program", ["", "llorch-pool", "~/llorch-pool", "/a'b", "/a\\b", "/a!b", "/a\nb", "/a\0b"]
)
def test_a_path_that_shells_read_differently_is_refused(program: str) -> None:
    refusal = remote_command(program)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.message.isprintable()
