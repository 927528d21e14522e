"""Whatever the arguments are: they reach the host's llorch-pool unchanged through any shell."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_core.clients.ssh.remote_calls import DEFAULT_COMMAND, remote_command
from orchestrator_core.stream.remote_frames import RemoteCall
from support.remote_shell import Conversation, echoing_pool

# Every host has the first two; the others are used where they are.
SHELLS = {
    "sh": ("sh",),
    "bash": ("bash",),
    "zsh": ("zsh",),
    "fish": ("fish",),
    "busybox": ("busybox", "sh"),
    "ksh": ("ksh",),
    "mksh": ("mksh",),
}
ALWAYS = ("sh", "bash")
PRESENT = [name for name, words in SHELLS.items() if shutil.which(words[0])]
PATH = 'with blanks/quo"te/dollar $HOME/semi;colon/star*/`tick`/=ls/~/ünï'
NASTY = [
    "", " ", "'", '"', "\\", "$HOME", "`id`", "$(id)", "!", "!!", "\n", "~", "*", "=ls", "-x",
    "--", "#", ";", "&", "|", "<", ">", "%", "^", "{a,b}", "\t", "ü", "\U0001f999", "\udcff", "\x1b[31m",
]  # fmt: skip

text = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
)
variables = st.dictionaries(
    st.from_regex(r"LLORCH_HOME|LC_X[A-Z]{1,8}", fullmatch=True), text, max_size=4
)
every_shell = pytest.mark.parametrize("shell", PRESENT)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return echoing_pool(tmp_path_factory.mktemp("pool") / "llorch-pool")


def as_hex(words: dict[str, str]) -> dict[str, str]:
    return {name: os.fsencode(word).hex() for name, word in words.items()}


@pytest.mark.parametrize("shell", ALWAYS)
def test_there_are_shells_to_try(shell: str) -> None:
    assert shell in PRESENT


@every_shell
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(argv=st.lists(text, max_size=12), env=variables, stdin=st.binary(max_size=2000))
def test_nothing_on_the_way_changes_a_byte(
    shell: str, pool: Path, argv: list[str], env: dict[str, str], stdin: bytes
) -> None:
    command = remote_command(str(pool))
    assert isinstance(command, str)
    with Conversation(SHELLS[shell], command) as talk:
        talk.greet()
        talk.ask(RemoteCall(tuple(argv), env), stdin)
        heard = talk.end()
    called = heard.call()
    assert called["argv"] == [os.fsencode(word).hex() for word in argv]
    assert as_hex(env).items() <= called["env"].items()
    assert heard.err == stdin
    assert heard.taken_bytes == len(stdin)
    assert heard.code == len(stdin) % 100
    assert heard.preamble == b""


@every_shell
def test_any_path_of_the_program_means_the_same(tmp_path: Path, shell: str) -> None:
    command = remote_command(str(echoing_pool(tmp_path / PATH / "llorch-pool")))
    assert isinstance(command, str)
    with Conversation(SHELLS[shell], command) as talk:
        talk.greet()
        talk.ask(RemoteCall(("worker", "list"), cwd=str(tmp_path)))
        heard = talk.end()
    assert heard.call()["cwd"] == str(tmp_path)
    assert heard.code == 0


@every_shell
def test_the_way_without_an_entry_means_the_same(tmp_path: Path, shell: str) -> None:
    home = tmp_path / "home of 'me'"
    echoing_pool(home / ".local" / "share" / "llorch" / "current" / "bin" / "llorch-pool")
    with Conversation(SHELLS[shell], DEFAULT_COMMAND, cwd=home) as talk:
        talk.greet()
        talk.ask(RemoteCall(("status",)))
        assert talk.end().code == 0
