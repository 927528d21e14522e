"""The network of hosts that the tests beside this one stand on is what they take it for."""

import subprocess
import sys
from pathlib import Path

import psutil

from support.checkout import ROOT
from support.host_lab import host_lab
from support.waiting import until_sync

BUILD_AND_STAY = """
import pathlib, sys
from support.host_lab import host_lab
with host_lab(pathlib.Path(sys.argv[1]), names=("mac",)) as lab:
    lab["mac"].run("sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").must()
    pids = [process.pid for host in lab.hosts.values() for process in host.processes()]
    print(*pids, *(host.pid for host in lab.hosts.values()), flush=True)
    sys.stdin.read()
"""


def test_hosts_see_each_other_by_name_and_own_nothing_of_this_machine(tmp_path: Path) -> None:
    with host_lab(tmp_path, names=("mac", "blep")) as lab:
        (lab["mac"].home / "mine").write_text("of the mac")
        seen = lab["mac"].run("sh", "-c", "hostname; ls /root; cat /proc/net/dev | grep -c eth0")
        assert seen.must().out.split() == ["mac", "mine", "1"]
        assert lab["blep"].run("ls", "/root").must().out == ""
        assert lab["blep"].run("getent", "hosts", "mac").must().out.split() == ["10.77.0.2", "mac"]


def test_a_host_listens_to_ssh_and_to_nothing_else(tmp_path: Path) -> None:
    with host_lab(tmp_path, names=("mac",)) as lab:
        assert {it.port for it in lab["mac"].listeners()} == {22}
        assert lab.hub.listeners() == []


def test_a_cut_cable_swallows_and_a_healed_one_delivers(tmp_path: Path) -> None:
    knock = ("timeout", "2", "bash", "-c", "</dev/tcp/mac/22")
    with host_lab(tmp_path, names=("mac",)) as lab:
        lab.hub.run(*knock).must()
        lab["mac"].cut()
        lab.hub.run(*knock).must(124)
        lab["mac"].heal()
        lab.hub.run(*knock).must()


def test_killing_everything_spares_the_sshd_alone(tmp_path: Path) -> None:
    with host_lab(tmp_path, names=("mac",)) as lab:
        mac = lab["mac"]
        mac.run("sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").must()
        (sleeper,) = mac.named("sleep")
        assert mac.kill_everything_but_sshd() == [sleeper.pid]
        lab.hub.run("bash", "-c", "</dev/tcp/mac/22").must()


def test_nothing_is_left_of_a_lab(tmp_path: Path) -> None:
    with host_lab(tmp_path, names=("mac",)) as lab:
        lab["mac"].run("sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").must()
        pids = [process.pid for host in lab.hosts.values() for process in host.processes()]
        pids += [host.pid for host in lab.hosts.values()]
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


def test_nothing_is_left_of_a_lab_whose_test_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUILD_AND_STAY, str(tmp_path)],
        cwd=ROOT / "tests",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as test:
        assert test.stdout is not None
        pids = [int(word) for word in test.stdout.readline().split()]
        assert len(pids) >= 4
        test.kill()
    until_sync(
        lambda: not any(psutil.pid_exists(pid) for pid in pids), what="the end of all its hosts"
    )


def test_a_host_without_power_is_silent_and_comes_back_with_its_files(tmp_path: Path) -> None:
    knock = ("timeout", "2", "bash", "-c", "</dev/tcp/mac/22")
    with host_lab(tmp_path, names=("mac",)) as lab:
        mac = lab["mac"]
        mac.run("sh", "-c", "echo mine >~/mine; setsid sleep 1000 >/dev/null 2>&1 &").must()
        mac.power_off()
        assert not mac.is_on
        assert lab.hub.run(*knock).code != 0
        lab.power_on("mac")
        # Whoever has just asked in vain for its card waits a moment before asking again.
        until_sync(lambda: lab.hub.run(*knock).code == 0, what="the port of the host")
        assert mac.run("sh", "-c", "cat ~/mine; hostname").must().out.split() == ["mine", "mac"]
        assert mac.named("sleep") == []
