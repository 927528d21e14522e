"""Long output, readers that stall or leave, cuts and signals while a command runs at a host."""

import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.odd_servers import odd_server
from support.remote_shell import pool_program
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, pytest.mark.drill, needs_sshd]

LLORCH = Path(sys.executable).with_name("llorch")
VERSION = importlib.metadata.version("llorch-pool-ctl")
SIZE_BYTES = 32 << 20
# Every byte there is, so that nothing on the way may take one for a sign.
POURING = f"""\
import os
block = bytes(range(256)) * 256
for _ in range({SIZE_BYTES} // len(block)):
    os.write(1, block)
os._exit(7)
"""
# It says its pid and that of remote-exec, and goes on until it is told to end.
WAITING = """\
import os, signal
os.write(1, b"%d %d\\n" % (os.getpid(), os.getppid()))
signal.pause()
"""
# llorch, but no limit ends a login before a slow machine has sent the signal.
PATIENT = """\
import dataclasses
from llorch_ctl.hosts import ways
from llorch_ctl.main import main
real = ways.login
ways.login = lambda settings: dataclasses.replace(real(settings), connect_timeout_s=300.0)
main()
"""


@pytest.fixture(scope="module")
def mac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondMachine]:
    with second_machine(tmp_path_factory.mktemp("streams")) as machine:
        yield machine


def run(mac: SecondMachine, program: str) -> list[str]:
    """The command line that runs this at the host instead of llorch-pool."""
    place = mac.there.folder / "programs" / "llorch-pool"
    mac.write_host(command=str(pool_program(place, program, grace_s=0.5, version=VERSION)))
    return [str(LLORCH), "pool", "devices", "--host", "mac"]


def started(mac: SecondMachine, argv: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        argv,
        env=mac.ours.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_much_output_of_any_bytes_comes_through(mac: SecondMachine, tmp_path: Path) -> None:
    argv = run(mac, POURING)
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            argv, env=mac.ours.env, stdout=out, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (7, b"")
    with (tmp_path / "out").open("rb") as out:
        found = hashlib.file_digest(out, "sha256").hexdigest()
    block = bytes(range(256)) * (SIZE_BYTES // 256)
    assert found == hashlib.sha256(block).hexdigest()


def test_a_reader_that_has_enough_ends_it_without_a_word(mac: SecondMachine) -> None:
    argv = " ".join(run(mac, POURING))
    done = subprocess.run(
        ["sh", "-c", f"{argv} | head -c 1"], env=mac.ours.env, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"\0", b"")


def test_a_pipe_that_does_not_wait_loses_nothing(mac: SecondMachine) -> None:
    argv = run(mac, POURING.replace(str(SIZE_BYTES), str(1 << 20)))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(argv, env=mac.ours.env, stdout=writing) as process:
        os.close(writing)
        with open(reading, "rb") as out:  # noqa: PTH123 - a descriptor, not a path.
            assert len(out.read()) == 1 << 20
        assert process.wait(60) == 7


def test_a_cut_leaves_it_open_what_the_command_did(mac: SecondMachine) -> None:
    with started(mac, run(mac, WAITING)) as process:
        assert process.stdout is not None
        far, _ = map(int, process.stdout.readline().split())
        mac.sshd.cut()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert said == (
        "error: the connection to mac was lost: it is not known whether the command ran "
        "(UNREACHABLE)\n"
    )
    until_sync(lambda: not is_there(far), what="the end of the command at the host")


def test_a_remote_exec_that_is_killed_leaves_it_open_too(mac: SecondMachine) -> None:
    with started(mac, run(mac, WAITING)) as process:
        assert process.stdout is not None
        far, serving = map(int, process.stdout.readline().split())
        os.kill(serving, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        os.kill(far, signal.SIGKILL)
    assert process.returncode == 5
    assert said == (
        "error: llorch-pool was ended at mac (exit 137): it is not known how far the command came "
        "(UNREACHABLE)\n"
    )


def test_ctrl_c_while_a_host_lets_us_wait_ends_at_once(mac: SecondMachine) -> None:
    with odd_server(b"", "hang") as port:
        argv = [sys.executable, "-c", PATIENT, "pool", "devices", "--host", f"127.0.0.1:{port}"]
        with started(mac, argv) as process:
            until_sync(lambda: _is_connected(process.pid, port), what="a connection")
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1


def _is_connected(pid: int, port: int) -> bool:
    found = psutil.Process(pid).net_connections("tcp")
    return any(it.raddr and it.raddr.port == port and it.status == "ESTABLISHED" for it in found)
