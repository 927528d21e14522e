"""What a command at a host is told of our terminal, and what it never is."""

from llorch_ctl.hosts.terminal import told_env

OURS = {
    "HOME": "/mine",
    "PATH": "/bin",
    "LLORCH_HOME": "/mine/llorch",
    "LLORCH_API_KEY": "llo_secret",
    "HF_TOKEN": "hf_secret",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "LANG": "de_DE.UTF-8",
    "LC_TIME": "C",
    "TERM": "xterm",
    "COLUMNS": "77",
}


def test_language_and_terminal_are_told_and_secrets_are_not() -> None:
    told = told_env(OURS, columns=None)
    assert told == {"LANG": "de_DE.UTF-8", "LC_TIME": "C", "TERM": "xterm", "COLUMNS": "77"}


def test_a_terminal_tells_its_own_width_and_takes_colour() -> None:
    told = told_env(OURS, columns=120)
    assert (told["COLUMNS"], told["FORCE_COLOR"]) == ("120", "1")


def test_who_wants_no_colour_gets_none() -> None:
    told = told_env({"NO_COLOR": "1"}, columns=120)
    assert told == {"NO_COLOR": "1", "COLUMNS": "120"}


def test_the_folder_of_the_host_is_the_hosts_own() -> None:
    assert told_env(OURS, columns=None, home="/srv/llorch")["LLORCH_HOME"] == "/srv/llorch"


def test_values_that_are_no_words_stay_here() -> None:
    assert told_env({"LANG": "C\n", "TERM": "x" * 300, "COLUMNS": "many"}, columns=None) == {}
