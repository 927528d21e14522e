"""llorch pool VERB --host NAME: the verbs of llorch-pool at a machine that only SSH leads to."""

import dataclasses
import importlib.metadata
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llorch_ctl.hosts import ways
from llorch_ctl.main import cli
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.login import Login
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, needs_sshd]

LLORCH = Path(sys.executable).with_name("llorch")


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[SecondMachine]:
    with second_machine(tmp_path) as machine:
        yield machine


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_a_host_without_any_daemon_of_ours_is_controlled_through_ssh(mac: SecondMachine) -> None:
    spawned = mac.at("worker", "spawn", "cpu", "--model", "tiny-chat", "--format", "json").must()
    worker: Any = spawned.json()
    assert worker["status"] == "ready"
    assert [it.pid for it in mac.there.workers()] == [worker["pid"]]
    listed = mac.at("worker", "list", "--format", "json").must()
    assert listed.out == mac.there.pool("worker", "list", "--format", "json").must().out
    status: Any = mac.at("status", "--format", "json").must().json()
    assert [it["pid"] for it in status["workers"]] == [worker["pid"]]
    mac.at("worker", "stop", str(worker["name"])).must()
    assert not mac.there.workers()
    assert not (mac.ours.folder / "state").exists()


def test_output_and_exit_code_are_the_hosts_own(mac: SecondMachine) -> None:
    for args in (
        ["worker", "list"],
        ["worker", "stop", "nobody"],
        ["daemon", "status", "--nonsense"],
        ["worker", "--help"],
    ):
        far = mac.at(*args)
        near = mac.there.pool(*args)
        # What a driver measures changes between two looks.
        assert (far.code, far.out, far.err) == (near.code, near.out, near.err)


def test_arguments_reach_the_host_as_they_were_typed(mac: SecondMachine) -> None:
    name = "a b\n'\"$(id)`;&*?[~!\\ ünï"
    far = mac.at("worker", "stop", name)
    near = mac.there.pool("worker", "stop", name)
    assert (far.code, far.err) == (near.code, near.err)


def test_the_way_is_said_with_v_only(mac: SecondMachine) -> None:
    assert mac.at("worker", "list").must().err == mac.there.pool("worker", "list").must().err
    told = mac.at("worker", "list", "-v").must().err.splitlines()
    assert re.fullmatch(r"ssh mac -> /.*/llorch-pool", told[0])


def test_the_host_may_be_named_before_the_verb(mac: SecondMachine) -> None:
    mac.ours.llorch("pool", "--host", "mac", "worker", "list").must()


def test_a_host_that_is_not_in_the_book_is_what_ssh_makes_of_it(mac: SecondMachine) -> None:
    mac.config.unlink()
    release = mac.user_home.parent / "their-user/.local/share/llorch/current/bin"
    assert one_line(mac.at("devices").must(3).err).startswith(
        "error: there is no llorch-pool at mac"
    )
    release.mkdir(parents=True)
    (release / "llorch-pool").symlink_to(Path(sys.executable).with_name("llorch-pool"))
    mac.at("devices").must()
    place = f"{mac.sshd.user}@127.0.0.1:{mac.sshd.port}"
    config = mac.user_home / ".ssh" / "config"
    config.write_text(f"IdentityFile {mac.sshd.client_key}\n")
    mac.ours.llorch("pool", "devices", "--host", place).must()


def test_no_llorch_pool_at_the_host_is_one_line_with_the_next_step(mac: SecondMachine) -> None:
    mac.write_host(command="/nowhere/llorch-pool")
    line = one_line(mac.at("worker", "list").must(3).err)
    assert "llorch host add mac" in line


@pytest.mark.parametrize(
    ("ours", "step"),
    [("0.9.0", "run: llorch host upgrade mac"), ("0.0.0", None), ("9.0.0", "host upgrade mac")],
)
def test_a_host_of_another_version_is_refused_before_anything_runs(
    mac: SecondMachine, monkeypatch: pytest.MonkeyPatch, ours: str, step: str | None
) -> None:

    def version(_name: str) -> str:
        return ours

    monkeypatch.setattr("llorch_ctl.hosts.remote.version", version)
    args = ["pool", "daemon", "start", "--host", "mac"]
    result = CliRunner().invoke(cli, args, env=mac.ours.env)
    if step is None:
        assert result.exit_code == 0
        return
    assert (result.exit_code, result.stdout) == (1, "")
    line = one_line(result.stderr)
    theirs = importlib.metadata.version("llorch-pool-ctl")
    assert line.startswith(f"error: llorch-pool on mac is {theirs}, this is {ours}: ")
    assert step in line
    assert not mac.there.processes()


def test_an_unknown_key_is_refused_until_it_is_trusted(mac: SecondMachine) -> None:
    mac.know_nobody()
    line = one_line(mac.at("devices").must(4).err)
    fingerprint = re.search(r"SHA256:\S+(?=\))", line)
    assert fingerprint is not None
    assert "llorch host trust mac" in line
    asked = mac.ours.llorch("host", "trust", "mac").must(4)
    assert f"llorch host trust mac --fingerprint {fingerprint[0]}" in last_line(asked.err)
    wrong = mac.ours.llorch("host", "trust", "mac", "--fingerprint", "SHA256:" + "A" * 43).must(4)
    assert fingerprint[0] in last_line(wrong.err)
    mac.at("devices").must(4)
    known = mac.ours.folder / "state" / "known_hosts"
    assert not known.exists()
    trusted: Any = mac.ours.llorch(
        "host", "trust", "mac", "--fingerprint", fingerprint[0], "--format", "json"
    ).must()
    (row,) = trusted.json()
    assert row == {
        "host": "mac",
        "kind": row["kind"],
        "fingerprint": fingerprint[0],
        "known": False,
    }
    assert known.read_text() == mac.sshd.known_hosts
    assert known.stat().st_mode & 0o777 == 0o600
    mac.at("devices").must()
    assert "known already" in mac.ours.llorch("host", "trust", "mac").must().err


def test_a_key_that_changed_is_refused_until_a_person_replaces_it(mac: SecondMachine) -> None:
    mac.know_nobody()
    mac.ours.llorch("host", "trust", "mac", "--yes").must()
    mac.sshd.change_host_key()
    line = one_line(mac.at("devices").must(4).err)
    assert "llorch host trust mac --replace" in line
    assert len(re.findall(r"SHA256:", line)) == 2
    assert "--replace" in last_line(mac.ours.llorch("host", "trust", "mac", "--yes").must(4).err)
    mac.at("devices").must(4)
    mac.ours.llorch("host", "trust", "mac", "--yes", "--replace").must()
    mac.at("devices").must()
    known = mac.ours.folder / "state" / "known_hosts"
    assert known.read_text() == mac.sshd.known_hosts


def test_hosts_are_listed_and_checked(mac: SecondMachine) -> None:
    with mac.config.open("a") as file:
        file.write('[hosts.off]\nssh = "127.0.0.1:1"\n')
    rows = mac.ours.llorch("host", "list", "--format", "json").must().json()
    assert rows == [
        {"name": "mac", "ssh": "mac", "url": None, "trusted": True},
        {"name": "off", "ssh": "127.0.0.1:1", "url": None, "trusted": False},
    ]
    checked: Any = mac.ours.llorch("host", "list", "--check", "--format", "json").must().json()
    facts = {row["name"]: (row["reachable"], bool(row["version"])) for row in checked}
    assert facts == {"mac": (True, True), "off": (False, False)}


def test_a_host_that_is_off_is_one_line(mac: SecondMachine) -> None:
    mac.sshd.kill()
    assert "nothing listens" in one_line(mac.at("devices").must(5).err)


def test_a_host_that_hangs_is_one_line(mac: SecondMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ways.login

    def login(settings: CliSettings) -> Login:
        return dataclasses.replace(real(settings), connect_timeout_s=0.3)

    monkeypatch.setattr(ways, "login", login)
    mac.sshd.stop()
    try:
        args = ["pool", "devices", "--host", "mac"]
        result = CliRunner().invoke(cli, args, env=mac.ours.env)
    finally:
        mac.sshd.resume()
    assert (result.exit_code, result.stdout) == (124, "")
    assert "mac gives no answer within 0.3 s" in one_line(result.stderr)


def test_ctrl_c_ends_the_command_at_the_host(mac: SecondMachine) -> None:
    mac.at("worker", "spawn", "cpu", "--model", "tiny-chat").must()
    argv = ("pool", "worker", "logs", "worker-cpu-0", "--follow", "--host", "mac")
    with mac.ours.running(*argv) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert len(_followers(mac)) > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    until_sync(lambda: not _followers(mac), what="the end of the command at the host")
    assert mac.there.workers()


def test_a_reader_that_leaves_ends_the_command_at_the_host(mac: SecondMachine) -> None:
    mac.at("worker", "spawn", "cpu", "--model", "tiny-chat").must()
    argv = ("pool", "worker", "logs", "worker-cpu-0", "--follow", "--host", "mac")
    with mac.ours.running(*argv) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        mac.at("worker", "stop", "worker-cpu-0").must()
        assert process.wait(30) != 0
    until_sync(lambda: not _followers(mac), what="the end of the command at the host")


def _followers(mac: SecondMachine) -> list[int]:
    return [it.pid for it in mac.there.processes() if "--follow" in it.cmdline()]


def test_the_daemon_there_is_asked_through_a_tunnel(mac: SecondMachine) -> None:
    refused = mac.at("worker", "list", "--via", "http").must(4)
    assert "key_file" in one_line(refused.err)
    key = mac.there.folder / "state" / "pool" / "pool.key"
    mac.write_host(key_file=str(key))
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("not-a-key-yet\n")
    line = one_line(mac.at("worker", "list", "--via", "http").must(5).err)
    assert "llorch pool daemon start --host mac" in line
    fell_back = mac.at("worker", "list", "-v").must().err.splitlines()
    assert fell_back[0].startswith("not by tunnel: ")
    assert fell_back[1].startswith("ssh mac -> ")
    key.unlink()
    mac.at("daemon", "start").must()
    told = mac.at("worker", "list", "-v", "--format", "json").must()
    assert re.match(r"tunnel to 127.0.0.1:\d+ on mac through ssh mac\n", told.err)
    assert told.json() == []
    spawned = mac.at(
        "worker", "spawn", "cpu", "--model", "tiny-chat", "--via", "http", "--format", "json"
    ).must()
    assert isinstance(spawned.json(), dict)
    assert len(mac.there.workers()) == 1
    assert mac.at("worker", "stop", "nobody", "--via", "http").code == 3


def test_a_daemon_with_an_address_is_asked_there_and_ssh_steps_in(mac: SecondMachine) -> None:
    mac.at("daemon", "start").must()
    key = mac.there.folder / "state" / "pool" / "pool.key"
    url = mac.there.pool_url
    mac.write_host(key_file=str(key), url=url, ssh="nowhere.invalid")
    told = mac.at("devices", "-v").must()
    assert told.err.splitlines()[0] == f"http {url}"
    mac.write_host(key_file=str(key), url="http://127.0.0.1:1")
    told = mac.at("devices", "-v").must()
    assert told.err.startswith("not by http: http://127.0.0.1:1: ")
    assert "tunnel to" in told.err


def test_the_host_that_fits_is_chosen_and_the_reasons_are_told(mac: SecondMachine) -> None:
    with mac.config.open("a") as file:
        file.write('[hosts.off]\nssh = "127.0.0.1:1"\n')
    done = mac.ours.llorch(
        "pool", "worker", "spawn", "cpu", "--model", "tiny-chat", "--host", "auto", "--no-wait"
    ).must()
    reasons = done.err.splitlines()[0]
    assert reasons.startswith("mac: pool mac has the most free memory: ")
    assert "; not off: " in reasons
    assert len(mac.there.workers()) == 1
    refused = mac.ours.llorch(
        "pool", "worker", "spawn", "metal", "--model", "tiny-chat", "--host", "auto"
    ).must(1)
    line = one_line(refused.err)
    assert "mac: has no device for backend metal" in line
    assert "off: " in line


def test_a_loop_over_hosts_keeps_its_input(mac: SecondMachine) -> None:
    done = subprocess.run(
        ["sh", "-c", f"while read h; do {LLORCH} pool devices --host $h --format json; done"],
        env=mac.ours.env,
        input="mac\nmac\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(re.findall(r"^\[", done.stdout, re.MULTILINE)) == 2
    first, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert first


def test_nothing_of_ours_that_is_secret_reaches_the_host(mac: SecondMachine) -> None:
    script = mac.there.folder / "show"
    script.write_text("#!/bin/sh\nenv >&2\nexit 7\n")
    script.chmod(0o755)
    mac.write_host(command=str(script))
    mac.ours.env |= {"HF_TOKEN": "hf_secret", "LLORCH_API_KEY": "llo_secret"}
    done = mac.at("devices")
    assert done.code != 0
    assert "secret" not in done.err
    assert str(mac.ours.folder) not in done.err


def test_a_file_of_hosts_that_is_wrong_is_one_line(mac: SecondMachine) -> None:
    mac.config.write_text('[hosts.mac]\nshh = "mac"\n')
    line = one_line(mac.at("devices").must(1).err)
    assert line.startswith("error: llorch.toml: [hosts.mac]: unknown key 'shh'")


def test_a_second_ctrl_c_leaves_at_once(mac: SecondMachine) -> None:
    mac.at("worker", "spawn", "cpu", "--model", "tiny-chat").must()
    argv = [LLORCH, "pool", "worker", "logs", "worker-cpu-0", "--follow", "--host", "mac"]
    with subprocess.Popen(
        argv, env=mac.ours.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        mac.sshd.stop()
        try:
            process.send_signal(signal.SIGINT)
            assert "Ctrl-C again leaves at once" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert "left mac" in process.stderr.readline()
            assert process.wait(30) == 130
        finally:
            mac.sshd.resume()
            process.kill()


def test_a_daemon_with_a_certificate_of_its_own_is_known_by_it(tmp_path: Path) -> None:
    with second_machine(tmp_path, there_env={"LLORCH_POOL_TLS": "true"}) as mac:
        mac.there.pool("daemon", "start").must()
        pool = mac.there.folder / "state" / "pool"
        url = mac.there.pool_url
        assert url.startswith("https://")
        key = {"key_file": str(pool / "pool.key"), "url": url}
        mac.write_host(**key)
        assert one_line(mac.at("devices", "--via", "http").must(5).err)
        mac.write_host(**key, ca=str(pool / "tls.crt"))
        assert mac.at("devices", "-v").must().err == f"http {url}\n"
        mac.write_host(key_file=key["key_file"], ca=str(pool / "tls.crt"))
        assert mac.at("devices", "-v").must().err.startswith("tunnel to ")
