"""How git is called."""

from pathlib import Path

import pytest

from pool_ctl.git.invocation import argv, environment, is_new_enough, refuse_name


def test_the_command_line_names_folder_and_safe_settings_before_the_words() -> None:
    words = argv(Path("/x y"), ("status", "-z"))
    assert words[:3] == ["git", "-C", "/x y"]
    assert words[-2:] == ["status", "-z"]
    assert "protocol.ext.allow=never" in words[: words.index("status")]


def test_nothing_in_the_environment_leads_to_another_repository() -> None:
    env = environment({"GIT_DIR": "/y", "GIT_INDEX_FILE": "/z", "HOME": "/h", "LC_ALL": "de_DE"})
    assert "GIT_DIR" not in env
    assert "GIT_INDEX_FILE" not in env
    assert (env["HOME"], env["LC_ALL"], env["GIT_TERMINAL_PROMPT"]) == ("/h", "C", "0")


@pytest.mark.parametrize(
    ("allowed", "left"), [("ext", ""), ("file:ext:https", "file:https"), ("https", "https")]
)
def test_commands_as_remotes_are_never_allowed(allowed: str, left: str) -> None:
    assert environment({"GIT_ALLOW_PROTOCOL": allowed})["GIT_ALLOW_PROTOCOL"] == left


@pytest.mark.parametrize(
    ("answer", "is_enough"),
    [
        ("git version 2.30.0", True),
        ("git version 2.39.5 (Apple Git-154)", True),
        ("git version 3.0.0", True),
        ("git version 2.29.9", False),
        ("git version 1.8.3.1", False),
        ("hub version 2.40", False),
    ],
)
def test_an_old_git_is_known_by_its_answer(answer: str, *, is_enough: bool) -> None:
    assert is_new_enough(answer) is is_enough


@pytest.mark.parametrize("name", ["", "-x", "--force", "a\nb", "a\x1bb"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    assert refuse_name(name)
    assert refuse_name("feature/x-1") is None
