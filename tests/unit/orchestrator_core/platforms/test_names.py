"""Programs and users under the names that people know."""

import os
import pwd

import pytest

from orchestrator_core.platforms.names import program_name, user_name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/usr/bin/python3.11", "/opt/x/bin/orchestratord", "--bind"], "orchestratord"),
        (["/Frameworks/Python.app/Contents/MacOS/Python", "/x/bin/llorch-worker"], "llorch-worker"),
        (["python", "-m", "http.server"], "python"),
        (["/usr/sbin/nginx"], "nginx"),
        ([], "comm"),
        ([""], "comm"),
    ],
)
def test_program_is_named_by_what_it_runs(words: list[str], name: str) -> None:
    assert program_name(words, "comm") == name


def test_user_is_named_where_the_machine_knows_one() -> None:
    assert user_name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert user_name(4_000_000_123) is None
