"""llorch-pool git as a person meets it: every command, its questions, its progress, Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.git_repos import GitWorld
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

PROGRAM = str(Path(sys.executable).with_name("llorch-pool"))
TIMEOUT_S = 60.0

# What the first llorch-git could do, in today's words, with the exit code that each should have
# had: where something is wrong, in a checkout with a conflict, without a network, without a yes.
COMMANDS = [
    ("status", 0),
    ("pull", 0),
    ("sync --force", 0),
    ("sync", 2),
    ("submodules", 0),
    ("submodules list", 0),
    ("submodules status", 0),
    ("submodules branch --name engine", 0),
    ("submodules branch --name reference/engine --branch main", 0),
    ("submodules branch --name engine --branch nothing", 3),
    ("submodules branch --name nothing", 3),
    ("submodules branch", 2),
    ("submodules update --name engine", 0),
    ("submodules update --all", 0),
    ("submodules update --name nothing", 3),
    ("submodules update", 2),
    ("submodules reset --name engine --force", 0),
    ("submodules reset --name engine", 2),
    ("submodules reset --name nothing --force", 3),
    ("submodules reset --force", 2),
    ("clean --force", 0),
    ("clean", 2),
    ("clean --dry-run", 0),
    ("branches", 0),
    ("log", 0),
    ("log -n 3", 0),
    ("nothing", 2),
    ("", 0),
]
WITHOUT_NETWORK = [
    ("pull", 5),
    ("sync --force", 5),
    ("status", 0),
    ("log", 0),
    ("branches", 0),
    ("submodules status", 0),
    ("clean --dry-run", 0),
]


class Desk:
    """A checkout with a submodule, on which real commands run."""

    def __init__(self, folder: Path) -> None:
        self.world = GitWorld(folder)
        self.inner = self.world.remote("engine")
        self.bare = self.world.remote("suite")
        self.world.add_submodule(self.bare, self.inner, "reference/engine")
        self.mine = self.world.clone(self.bare)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal."""
        return subprocess.run(
            [PROGRAM, "git", *words],
            cwd=self.mine,
            env=self.world.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ask(self, *words: str, answer: str) -> tuple[int, str, str]:
        """Run a command on a terminal that types; returns code, stdout and the screen."""
        ours, theirs = os.openpty()
        try:
            process = subprocess.Popen(
                [PROGRAM, "git", *words],
                cwd=self.mine,
                env={**self.world.env, "TERM": "xterm"},
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=theirs,
            )
            os.close(theirs)
            os.write(ours, answer.encode())
            with process:
                out, _ = process.communicate(timeout=TIMEOUT_S)
            return process.returncode, out.decode(), drain(ours)
        finally:
            os.close(ours)

    def hang_in_transfer(self) -> None:
        """Let the remote be a host that takes the call and says nothing more."""
        self.program("ssh")
        self.world.git(self.mine, "remote", "set-url", "origin", "ssh://host.example/x.git")

    def hang_in_rebase(self) -> None:
        """Let a pull meet a file whose two versions are joined by a program that never ends."""
        driver = self.program("join")
        self.world.git(self.mine, "config", "merge.slow.driver", str(driver))
        (self.mine / ".git" / "info" / "attributes").write_text("README merge=slow\n")
        self.world.commit(self.mine, "README", "own\n")
        self.world.publish(self.bare, "README", "theirs\n")

    def program(self, name: str) -> Path:
        """A program that says that it runs, and never ends."""
        path = self.world.folder / "programs" / name
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\necho $$ > '{self.caller}'\nexec sleep 600\n")
        path.chmod(0o700)
        return path

    def pulling(self) -> subprocess.Popen[str]:
        """Start a pull and do not wait for it."""
        programs = self.world.folder / "programs"
        return subprocess.Popen(
            [PROGRAM, "git", "pull"],
            cwd=self.mine,
            env={**self.world.env, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def caller(self) -> Path:
        """Where the program that holds the connection writes its process id."""
        return self.world.folder / "caller"


def drain(descriptor: int) -> str:
    """Everything that a terminal was sent whose other end is closed."""
    parts: list[bytes] = []
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:
            data = b""
        if not data:
            return b"".join(parts).decode("utf-8", "replace")
        parts.append(data)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Desk]:
    desk = Desk(tmp_path_factory.mktemp("desk"))

    def as_new() -> Desk:
        (desk.mine / "untracked").write_text("x")
        return desk

    return as_new


@pytest.mark.parametrize(("words", "code"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_every_command_ends_with_its_exit_code(
    shared: Callable[[], Desk], words: str, code: int
) -> None:
    done = shared().run(*words.split())
    assert done.returncode == code, f"{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


def test_without_a_network_only_what_needs_one_fails(desk: Desk) -> None:
    desk.bare.rename(desk.bare.with_name("away.git"))
    for words, code in WITHOUT_NETWORK:
        done = desk.run(*words.split())
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"


def test_a_conflict_ends_with_1_and_leaves_the_checkout_as_it_was(desk: Desk) -> None:
    desk.world.publish(desk.bare, "README", "theirs\n")
    own = desk.world.commit(desk.mine, "README", "own\n")
    done = desk.run("pull")
    assert done.returncode == 1
    assert "README" in done.stderr
    assert desk.world.head(desk.mine) == own
    assert desk.run("sync", "--force").returncode == 0
    assert (desk.mine / "README").read_text() == "theirs\n"


def test_sync_asks_and_takes_no_for_an_answer(desk: Desk) -> None:
    own = desk.world.commit(desk.mine, "own", "x")
    code, out, screen = desk.ask("sync", answer="n\n")
    assert code == 0
    assert "Set own" in out
    assert "to origin/main" in screen
    assert "[y/N]" in screen
    assert "Nothing was changed." in screen
    assert desk.world.head(desk.mine) == own
    code, out, _ = desk.ask("sync", answer="y\n")
    assert code == 0
    assert "now at origin/main" in out
    assert desk.world.head(desk.mine) != own


def test_clean_asks_and_enter_means_no(desk: Desk) -> None:
    (desk.mine / "left").write_text("x")
    code, out, screen = desk.ask("clean", answer="\n")
    assert (code, "left" in out, "Remove 1 thing" in screen) == (0, True, True)
    assert (desk.mine / "left").exists()
    assert desk.ask("clean", answer="y\n")[0] == 0
    assert not (desk.mine / "left").exists()


def test_a_submodule_is_reset_after_a_yes(desk: Desk) -> None:
    file = desk.mine / "reference" / "engine" / "README"
    file.write_text("changed\n")
    code, _, screen = desk.ask("submodules", "reset", "--name", "engine", answer="n\n")
    assert (code, file.read_text()) == (0, "changed\n")
    assert "changes in 1 file: README" in screen
    assert desk.ask("submodules", "reset", "--name", "engine", answer="y\n")[0] == 0
    assert file.read_text() == "engine\n"


def test_ctrl_c_at_a_question_changes_nothing(desk: Desk) -> None:
    own = desk.world.commit(desk.mine, "own", "x")
    code, _, _ = desk.ask("sync", answer="\x04")
    assert code == 130
    assert desk.world.head(desk.mine) == own


def test_a_person_sees_gits_progress_and_a_script_does_not(desk: Desk) -> None:
    desk.world.publish(desk.bare, "x\x1b[31m", "1")
    code, _, screen = desk.ask("pull", answer="")
    assert code == 0
    assert "remote: Counting objects" in screen
    assert "\x1b" not in screen
    desk.world.publish(desk.bare, "x", "2")
    code, _, screen = desk.ask("pull", "--quiet", answer="")
    assert (code, screen) == (0, "")
    desk.world.publish(desk.bare, "x", "3")
    assert desk.run("pull").stderr == "fetching from origin\nupdating 1 submodule\n"


@pytest.mark.parametrize("hang", [Desk.hang_in_transfer, Desk.hang_in_rebase])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
)
def test_ending_the_command_ends_git_and_leaves_the_checkout_as_it_was(
    desk: Desk, number: signal.Signals, code: int, hang: Callable[[Desk], None]
) -> None:
    hang(desk)
    before = desk.world.head(desk.mine)
    with desk.pulling() as process:
        try:
            until_sync(lambda: desk.caller.is_file() and desk.caller.read_text(), what="a call")
            caller = psutil.Process(int(desk.caller.read_text()))
            process.send_signal(number)
            assert process.wait(TIMEOUT_S) == code
        finally:
            process.kill()
    until_sync(lambda: not caller.is_running(), what="the end of the call")
    assert desk.world.head(desk.mine) == before
    assert desk.world.git(desk.mine, "branch", "--show-current") == "main"
    assert desk.world.git(desk.mine, "status", "--short", "--untracked-files=no") == ""
    assert list((desk.mine / ".git").glob("*.lock")) == []
