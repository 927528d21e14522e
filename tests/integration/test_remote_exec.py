"""The host's side of remote-exec: it runs one command on a leash, and nothing outlives its caller."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.stream.remote_frames import Kind, RemoteCall, frame
from support.remote_shell import Conversation, pool_program
from support.waiting import until_sync

# It says its pid and goes on for ever; a child in its group and one in its own session are left.
LEAVING = """\
import subprocess, sys
inside = subprocess.Popen(["sleep", "1000"])
outside = subprocess.Popen(["sleep", "1000"], start_new_session=True,
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(inside.pid, outside.pid, "ready", flush=True)
"""
WAITING = LEAVING + "inside.wait()\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING
POLITE = """\
import os, signal, sys, time
def leave(number, frame):
    os.write(1, b"asked by %s\\n" % signal.Signals(number).name.encode())
    sys.exit(130)
signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
os.write(1, b"ready\\n")
while True:
    time.sleep(1000)
"""
LOUD = "import sys\nfor n in range(3000):\n    sys.stdout.write('x' * 999 + chr(10))\n"
DEAF = "import time\nprint('ready', flush=True)\ntime.sleep(1000)\n"


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Host:
    """Starts conversations, and ends what they leave behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.talks: list[Conversation] = []
        self.left: list[int] = []

    def start(self, text: str, *, lease_s: float = 20.0, grace_s: float = 5.0) -> Conversation:
        program = pool_program(self.folder / "llorch-pool", text, lease_s=lease_s, grace_s=grace_s)
        talk = Conversation(("sh",), f"exec '{program}' remote-exec")
        self.talks.append(talk)
        talk.greet()
        return talk

    def ask(self, talk: Conversation) -> tuple[int, int]:
        """Start one of the programs that leave something, and tell the pids of that."""
        talk.ask(RemoteCall(()))
        talk.hear_out(b"ready")
        inside, outside = map(int, talk.heard.out.split()[:2])
        self.left.append(outside)
        return inside, outside

    def close(self) -> None:
        for talk in self.talks:
            talk.close()
        for pid in self.left:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_the_exit_code_comes_last_and_whole_output_before_it(host: Host) -> None:
    talk = host.start(LOUD)
    talk.ask(RemoteCall(()))
    heard = talk.end()
    assert len(heard.out) == 3_000_000
    assert heard.kinds[-1] is Kind.EXIT
    assert heard.code == 0
    assert talk.wait() == 0


def test_an_interrupt_reaches_the_program_and_its_last_words_come_back(host: Host) -> None:
    talk = host.start(POLITE)
    talk.ask(RemoteCall(()))
    talk.hear_out(b"ready")
    talk.send(frame(Kind.SIGNAL, b"%d" % signal.SIGINT))
    heard = talk.end()
    assert heard.out == b"ready\nasked by SIGINT\n"
    assert heard.code == 130


def test_a_program_that_is_killed_counts_as_in_a_shell(host: Host) -> None:
    talk = host.start(STUBBORN)
    inside, outside = host.ask(talk)
    talk.send(frame(Kind.SIGNAL, b"%d" % signal.SIGKILL))
    assert talk.end().code == 128 + signal.SIGKILL
    until_sync(lambda: not is_alive(inside), what="the end of the group")
    assert is_alive(outside)


@pytest.mark.parametrize("number", [b"19", b"0", b"999", b"-9"])
def test_only_signals_that_end_are_passed_on(host: Host, number: bytes) -> None:
    talk = host.start(POLITE)
    talk.ask(RemoteCall(()))
    talk.hear_out(b"ready")
    talk.send(frame(Kind.SIGNAL, number), frame(Kind.SIGNAL, b"%d" % signal.SIGINT))
    assert talk.end().code == 130


def test_a_caller_who_hangs_up_ends_the_group_but_no_other_session(host: Host) -> None:
    talk = host.start(WAITING)
    inside, outside = host.ask(talk)
    talk.hang_up()
    assert talk.wait() == 0
    assert not is_alive(inside)
    assert is_alive(outside)


def test_a_silent_caller_ends_it_as_well(host: Host) -> None:
    talk = host.start(WAITING, lease_s=0.3)
    inside, outside = host.ask(talk)
    assert talk.end().code == 128 + signal.SIGTERM
    assert not is_alive(inside)
    assert is_alive(outside)


def test_one_who_will_not_end_is_killed(host: Host) -> None:
    talk = host.start(STUBBORN, grace_s=0.2)
    inside, _ = host.ask(talk)
    talk.hang_up()
    assert talk.end().code == 128 + signal.SIGKILL
    assert not is_alive(inside)


def test_its_own_end_is_the_end_of_what_it_runs(host: Host) -> None:
    talk = host.start(WAITING)
    inside, _ = host.ask(talk)
    os.kill(talk.pid, signal.SIGTERM)
    assert talk.end().code == 128 + signal.SIGTERM
    assert not is_alive(inside)


def test_what_a_program_leaves_behind_holds_nobody_up(host: Host) -> None:
    talk = host.start(LEAVING)
    inside, outside = host.ask(talk)
    assert talk.end().code == 0
    assert not is_alive(inside)
    assert is_alive(outside)


def test_a_pipe_that_another_session_holds_open_holds_nobody_up(host: Host) -> None:
    talk = host.start(LEAVING.replace("stdout=subprocess.DEVNULL, ", ""))
    host.ask(talk)
    assert talk.end().code == 0


def test_a_program_that_does_not_read_still_hears_signals(host: Host) -> None:
    talk = host.start(DEAF)
    talk.ask(RemoteCall(()), b"x" * 200_000)
    talk.hear_out(b"ready")
    talk.send(frame(Kind.SIGNAL, b"%d" % signal.SIGINT))
    assert talk.end().code in (1, 130)


def test_more_input_than_was_agreed_ends_the_call(host: Host) -> None:
    talk = host.start(DEAF)
    talk.ask(RemoteCall(()), b"x" * 200_000)
    talk.hear_out(b"ready")
    try:
        for _ in range(40):
            talk.send(frame(Kind.STDIN, b"x" * 65_536))
    except BrokenPipeError:
        pass
    assert talk.end().code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (RemoteCall(("remote-exec",)), b"every command but itself"),
        (RemoteCall((), cwd="/nowhere/at/all"), b"cannot be started"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(host: Host, call: RemoteCall, words: bytes) -> None:
    talk = host.start(LOUD)
    talk.ask(call)
    heard = talk.end()
    assert heard.code in (1, 2)
    assert words in heard.err
    assert heard.err.count(b"\n") == 1


@pytest.mark.parametrize("noise", [b"ls -l\nexit\n", b"\0" * 4096, b"R\xff\xff\xff\xff"])
def test_what_is_no_frame_starts_nothing(host: Host, noise: bytes) -> None:
    talk = host.start(LOUD)
    talk.send(noise)
    talk.hang_up()
    assert talk.wait() == 0
    assert talk.end().code is None
    assert talk.heard.out == b""
