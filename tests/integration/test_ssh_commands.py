"""What is run and left at a host over a real sshd: scripts, llorch-pool with its exit code, files."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator_core.clients.ssh import remote_running
from orchestrator_core.clients.ssh.client_keys import ensure_client_key
from orchestrator_core.clients.ssh.connection import ScriptEnd, SshConnection, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.login import KnownHosts, Login
from orchestrator_core.clients.ssh.remote_calls import RemoteCall, remote_command
from orchestrator_core.errors import Code, Refusal
from support.remote_shell import echoing_pool, pool_program
from support.sshd import Sshd, needs_sshd, running_sshd
from support.waiting import until

pytestmark = needs_sshd
# It says "ready", then goes on until it is told to end.
WAITING = """\
import os, signal, sys, time
def leave(number, frame):
    os.write(1, b"asked by %d\\n" % number)
    if sys.argv[1:] != ["stubborn"]:
        sys.exit(130)
signal.signal(signal.SIGINT, leave)
os.write(1, b"ready %d\\n" % os.getpid())
while True:
    time.sleep(1000)
"""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd", home=tmp_path) as server:
        yield server


async def entered(sshd: Sshd, key: Path | None = None) -> SshConnection:
    login = Login(KnownHosts((sshd.known_hosts,)), client_key=key or sshd.client_key)
    connection = await connect(Destination("127.0.0.1", port=sshd.port), login)
    assert isinstance(connection, SshConnection), connection
    return connection


@pytest.fixture
async def host(sshd: Sshd) -> AsyncIterator[SshConnection]:
    async with await entered(sshd) as connection:
        yield connection


class Heard:
    """What a remote command said."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""

    def on_out(self, data: bytes) -> None:
        self.out += data

    def on_err(self, data: bytes) -> None:
        self.err += data


async def run(
    host: SshConnection,
    command: Path | str,
    *argv: str,
    env: dict[str, str] | None = None,
    stdin: AsyncIterator[bytes] | None = None,
    stop: asyncio.Event | None = None,
    room: asyncio.Event | None = None,
    heard: Heard | None = None,
) -> tuple[int | Refusal, Heard]:
    line = remote_command(str(command)) if isinstance(command, Path) else command
    assert isinstance(line, str)
    heard = heard or Heard()
    code = await host.remote_exec(
        line,
        RemoteCall(argv, env or {}),
        on_out=heard.on_out,
        on_err=heard.on_err,
        stdin=stdin,
        stop=stop,
        room=room,
    )
    return code, heard


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def test_a_script_runs_in_sh_and_its_answer_is_kept(host: SshConnection) -> None:
    end = await host.script("echo out; echo err >&2; exit 7")
    assert end == ScriptEnd(7, "out\n", "err\n")


async def test_an_endless_answer_is_cut(host: SshConnection) -> None:
    end = await host.script("head -c 3000000 /dev/zero | tr '\\0' x")
    assert isinstance(end, ScriptEnd)
    assert len(end.out) == 262_144


async def test_a_script_that_hangs_is_a_timeout(host: SshConnection) -> None:
    refusal = await host.script("sleep 15", timeout_s=0.3)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.TIMEOUT
    assert await host.script("echo on", timeout_s=10) == ScriptEnd(0, "on\n", "")


async def test_a_cut_leaves_it_open_whether_a_script_ran(
    host: SshConnection, sshd: Sshd, tmp_path: Path
) -> None:
    began = tmp_path / "began"
    async with asyncio.TaskGroup() as tasks:
        script = tasks.create_task(host.script(f"echo > '{began}'; sleep 15"))
        await until(began.exists, what="the script")
        sshd.cut()
    refusal = script.result()
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.UNREACHABLE
    assert "not known whether" in refusal.message


async def test_more_scripts_than_a_server_allows_wait_their_turn(host: SshConnection) -> None:
    async with asyncio.TaskGroup() as tasks:
        scripts = [tasks.create_task(host.script(f"echo {n}")) for n in range(25)]
    assert [it.result() for it in scripts] == [ScriptEnd(0, f"{n}\n", "") for n in range(25)]


async def test_arguments_variables_and_input_arrive_unchanged(
    host: SshConnection, tmp_path: Path
) -> None:
    pool = echoing_pool(tmp_path / "llorch-pool")
    data = os.urandom(700_000)
    words = ("", "a b", "'", '"', "\\", "$HOME", "=ls", "\n", "\udcff", "ü")
    env = {"LC_X": "a 'b' $c\n"}
    code, heard = await run(host, pool, *words, env=env, stdin=pieces(data[:5], data[5:]))
    assert code == len(data) % 100
    assert heard.err == data
    for word in (*words, *env.values()):
        assert os.fsencode(word).hex().encode() in heard.out


async def test_the_real_program_answers(host: SshConnection, tmp_path: Path) -> None:
    pool = Path(sys.executable).with_name("llorch-pool")
    code, heard = await run(host, pool, "--version", env={"LLORCH_HOME": str(tmp_path / "home")})
    assert (code, heard.err) == (0, b"")
    assert heard.out.startswith(b"llorch-pool ")
    code, heard = await run(host, pool, "nonsense")
    assert code == 2
    assert b"nonsense" in heard.err


async def test_what_a_start_file_prints_is_no_part_of_the_output(
    host: SshConnection, tmp_path: Path
) -> None:
    pool = echoing_pool(tmp_path / "llorch-pool")
    code, heard = await run(host, f"echo Welcome!; exec '{pool}' remote-exec")
    assert code == 0
    assert heard.out.startswith(b'{"argv"')


async def test_a_start_file_that_eats_the_input_is_named(
    host: SshConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_running, "_MAGIC_TIMEOUT_S", 0.5)
    refusal, _ = await run(host, "echo Welcome!; cat")
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.TIMEOUT
    assert "Welcome!" in refusal.message
    assert ".bashrc" in refusal.message


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("exec /nowhere/llorch-pool remote-exec", Code.NOT_FOUND, "llorch host add"),
        ("echo No such command \\'remote-exec\\'. >&2; exit 2", Code.VERSION_SKEW, "too old"),
        ("echo Traceback >&2; exit 1", Code.INTERNAL, "exit 1): Traceback"),
        ("kill -9 $$", Code.INTERNAL, "137"),
    ],
)
async def test_a_program_that_does_not_start_is_told_in_one_line(
    host: SshConnection, command: str, code: Code, words: str
) -> None:
    refusal, _ = await run(host, command)
    assert isinstance(refusal, Refusal)
    assert refusal.code is code
    assert words in refusal.message
    assert refusal.message.isprintable()


async def test_an_interrupt_ends_it_and_a_second_one_kills(
    host: SshConnection, tmp_path: Path
) -> None:
    pool = pool_program(tmp_path / "llorch-pool", WAITING)
    for argv, interrupts, ended in (((), 1, 130), (("stubborn",), 2, 128 + signal.SIGKILL)):
        stop, heard = asyncio.Event(), Heard()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(run(host, pool, *argv, stop=stop, heard=heard))
            await until(lambda: b"ready" in heard.out, what="the program")  # noqa: B023
            for _ in range(interrupts):
                stop.set()
                await until(lambda: b"asked by 2" in heard.out, what="the interrupt")  # noqa: B023
        assert running.result()[0] == ended


async def test_a_caller_who_is_cancelled_ends_what_runs(
    host: SshConnection, tmp_path: Path
) -> None:
    pool, heard = pool_program(tmp_path / "llorch-pool", WAITING), Heard()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(host, pool, heard=heard))
        await until(lambda: b"ready" in heard.out, what="the program")
        running.cancel()
    pid = int(heard.out.split()[1])
    await until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the program")


async def test_a_cut_ends_what_runs_and_its_outcome_is_unknown(
    host: SshConnection, sshd: Sshd, tmp_path: Path
) -> None:
    pool, heard = pool_program(tmp_path / "llorch-pool", WAITING), Heard()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(host, pool, heard=heard))
        await until(lambda: b"ready" in heard.out, what="the program")
        sshd.cut()
    refusal = running.result()[0]
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.UNREACHABLE
    assert "not known whether the command ran" in refusal.message
    pid = int(heard.out.split()[1])
    await until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the program")


async def test_a_host_waits_with_its_output_as_long_as_there_is_no_room(
    host: SshConnection, tmp_path: Path
) -> None:
    size_bytes = 20 << 20
    text = f"import os\nfor _ in range({size_bytes >> 16}): os.write(1, bytes(65536))\n"
    pool = pool_program(tmp_path / "llorch-pool", text)
    room, full, heard = asyncio.Event(), asyncio.Event(), Heard()
    room.set()
    count_bytes = 0

    def count(data: bytes) -> None:
        nonlocal count_bytes
        count_bytes += len(data)
        if not full.is_set():
            full.set()
            room.clear()

    heard.on_out = count  # pyright: ignore[reportAttributeAccessIssue]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(host, pool, room=room, heard=heard))
        await full.wait()
        for _ in range(3):
            assert await host.script("echo on") == ScriptEnd(0, "on\n", "")
        assert count_bytes < 1 << 20
        room.set()
    assert (running.result()[0], count_bytes) == (0, size_bytes)


async def test_an_output_that_nobody_takes_ends_it_with_its_error(
    host: SshConnection, tmp_path: Path
) -> None:
    pool = pool_program(tmp_path / "llorch-pool", WAITING)
    heard = Heard()

    def closed(_: bytes) -> None:
        raise BrokenPipeError

    heard.on_out = closed  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(BrokenPipeError):
        await run(host, pool, heard=heard)
    assert await host.script("echo on") == ScriptEnd(0, "on\n", "")


async def test_the_key_of_an_orchestrator_runs_one_command_and_dials_the_loopback(
    sshd: Sshd, tmp_path: Path
) -> None:
    pool = echoing_pool(tmp_path / "llorch-pool")
    key = tmp_path / "ssh_key"
    options = f'restrict,port-forwarding,permitopen="127.0.0.1:*",command="{pool} remote-exec"'
    sshd.authorize(ensure_client_key(key), options=options)
    async with await entered(sshd, key) as host:
        code, heard = await run(host, "reboot", "status")
        assert code == 0
        assert b"73746174757" in heard.out
        await host.dial(asyncio.Protocol, "127.0.0.1", sshd.port)
        with pytest.raises(ConnectionRefusedError):
            await host.dial(asyncio.Protocol, "127.0.0.2", sshd.port)


async def test_a_file_has_its_name_only_when_it_is_whole(
    host: SshConnection, tmp_path: Path
) -> None:
    source, target = tmp_path / "wheel", tmp_path / "there" / "wheel"
    source.write_bytes(os.urandom(2_500_000))
    target.parent.mkdir()
    target.write_text("older")
    told: list[int] = []

    def tell(sent_bytes: int) -> None:
        told.append(sent_bytes)
        assert target.read_text() == "older"

    assert await host.upload(source, str(target), tell=tell, mode=0o700) is None
    assert told == [1 << 20, 2 << 20, 2_500_000]
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert os.listdir(target.parent) == ["wheel"]  # noqa: PTH208


async def test_a_place_that_takes_no_file_is_told(host: SshConnection, tmp_path: Path) -> None:
    source = tmp_path / "wheel"
    source.write_bytes(b"x")
    missing = await host.upload(source, str(tmp_path / "none" / "wheel"))
    assert missing is not None
    assert missing.code is Code.NOT_FOUND
    gone = await host.upload(tmp_path / "nothing", str(tmp_path / "x"))
    assert gone is not None
    assert gone.code is Code.INVALID_REQUEST
    assert not (tmp_path / "x.part").exists()
