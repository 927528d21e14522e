"""Logging in at a real sshd: whom we believe, which settings count, and one clear line for each no."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path

import pytest

from orchestrator_core.clients.ssh.connection import SshConnection, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.host_keys import HostKey, entry_for, fetch_host_keys
from orchestrator_core.clients.ssh.login import KnownHosts, Login
from orchestrator_core.errors import Code, Refusal
from support.sshd import Sshd, make_key, needs_sshd, running_sshd

pytestmark = needs_sshd


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd", home=tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def no_keys_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def config(folder: Path, text: str) -> Path:
    path = folder / "ssh_config"
    path.write_text(text)
    return path


def as_user(sshd: Sshd, folder: Path, *, known: str | None = None, more: str = "") -> Login:
    file = config(folder, sshd.ssh_config("mac") + more)
    return Login(KnownHosts((sshd.known_hosts if known is None else known,)), (file,))


def as_daemon(sshd: Sshd, *, timeout_s: float = 10.0) -> Login:
    return Login(
        KnownHosts((sshd.known_hosts,)), client_key=sshd.client_key, connect_timeout_s=timeout_s
    )


async def entered(destination: Destination, login: Login) -> SshConnection:
    connection = await connect(destination, login)
    assert isinstance(connection, SshConnection), connection
    return connection


async def refused(destination: Destination, login: Login) -> Refusal:
    refusal = await connect(destination, login)
    assert isinstance(refusal, Refusal)
    assert refusal.message.isprintable()
    return refusal


MAC = Destination("mac")


def at(sshd: Sshd) -> Destination:
    return Destination("127.0.0.1", port=sshd.port)


async def test_an_alias_of_the_configuration_is_found(sshd: Sshd, tmp_path: Path) -> None:
    async with await entered(MAC, as_user(sshd, tmp_path)) as connection:
        end = await connection.script("id -un")
        assert not isinstance(end, Refusal)
        assert end.out.strip() == sshd.user


async def test_an_orchestrator_uses_its_own_key_and_no_configuration(sshd: Sshd) -> None:
    async with await entered(at(sshd), as_daemon(sshd)) as connection:
        assert connection.destination == at(sshd)


async def test_a_host_that_nobody_trusts_is_refused_with_its_fingerprint(
    sshd: Sshd, tmp_path: Path
) -> None:
    refusal = await refused(MAC, as_user(sshd, tmp_path, known=""))
    assert refusal.code is Code.HOST_KEY_UNKNOWN
    assert "SHA256:" in refusal.message
    assert refusal.message.endswith("run: llorch host trust mac")


async def test_a_key_that_was_fetched_and_kept_is_believed(sshd: Sshd, tmp_path: Path) -> None:
    files = as_user(sshd, tmp_path).config_files
    keys = await fetch_host_keys(MAC, config=files)
    assert isinstance(keys, list)
    assert [(key.line, key.kind) for key in keys] == [
        (" ".join(sshd.host_key_line.split()[:2]), "ssh-ed25519")
    ]
    assert isinstance(keys[0], HostKey)
    assert keys[0].entry == entry_for("127.0.0.1", sshd.port, keys[0].line)
    unknown = await refused(MAC, Login(KnownHosts(), files))
    assert keys[0].fingerprint in unknown.message
    async with await entered(MAC, Login(KnownHosts((keys[0].entry,)), files)):
        pass


async def test_a_changed_key_names_both_and_is_never_taken(sshd: Sshd, tmp_path: Path) -> None:
    before = as_user(sshd, tmp_path)
    (old,) = await keys_of(sshd)
    sshd.change_host_key()
    (new,) = await keys_of(sshd)
    refusal = await refused(MAC, before)
    assert refusal.code is Code.HOST_KEY_CHANGED
    assert old.fingerprint in refusal.message
    assert new.fingerprint in refusal.message
    assert refusal.message.endswith("llorch host trust mac --replace")


async def keys_of(sshd: Sshd) -> list[HostKey]:
    keys = await fetch_host_keys(at(sshd))
    assert isinstance(keys, list)
    return keys


async def test_a_revoked_key_is_refused_even_where_it_is_known(sshd: Sshd, tmp_path: Path) -> None:
    known = f"{sshd.known_hosts}@revoked {sshd.known_hosts}"
    refusal = await refused(MAC, as_user(sshd, tmp_path, known=known))
    assert refusal.code is Code.HOST_KEY_CHANGED
    assert "revoked" in refusal.message


@pytest.mark.parametrize(
    "weak",
    [
        "StrictHostKeyChecking no",
        "StrictHostKeyChecking accept-new",
        "UserKnownHostsFile none",
        "UserKnownHostsFile /dev/null",
        "VerifyHostKeyDNS yes",
        "NoHostAuthenticationForLocalhost yes",
    ],
)
async def test_no_option_of_a_file_weakens_the_check(sshd: Sshd, tmp_path: Path, weak: str) -> None:
    refusal = await refused(MAC, as_user(sshd, tmp_path, known="", more=f"  {weak}\n"))
    assert refusal.code is Code.HOST_KEY_UNKNOWN


async def test_a_key_counts_for_its_name_and_not_for_the_address_behind_it(
    sshd: Sshd, tmp_path: Path
) -> None:
    more = "  HostKeyAlias workstation\n"
    by_address = await refused(MAC, as_user(sshd, tmp_path, more=more))
    assert by_address.code is Code.HOST_KEY_UNKNOWN
    alias = f"workstation {sshd.host_key_line}\n"
    async with await entered(MAC, as_user(sshd, tmp_path, known=alias, more=more)):
        pass


async def test_lines_of_known_hosts_that_nobody_can_read_are_passed_over(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = f"nonsense\n|9|x|y ssh-ed25519 AAAA\n@odd x y\n\0\n{sshd.known_hosts}"
    async with await entered(MAC, as_user(sshd, tmp_path, known=known)):
        pass


async def test_a_host_behind_another_is_reached_and_both_are_checked(
    sshd: Sshd, tmp_path: Path
) -> None:
    with running_sshd(tmp_path / "far") as far:
        more = far.ssh_config("far", more="  ProxyJump mac\n")
        both = as_user(sshd, tmp_path, known=sshd.known_hosts + far.known_hosts, more=more)
        async with await entered(Destination("far"), both):
            assert len(sshd.session_pids()) > 0
        only_far = as_user(sshd, tmp_path, known=far.known_hosts, more=more)
        refusal = await refused(Destination("far"), only_far)
        assert refusal.code is Code.HOST_KEY_UNKNOWN
        assert refusal.message.endswith("llorch host trust mac")
        keys = await fetch_host_keys(Destination("far"), config=both.config_files, login=both)
        assert isinstance(keys, list)


async def test_jumps_in_a_circle_are_told(sshd: Sshd, tmp_path: Path) -> None:
    more = "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n"
    refusal = await refused(Destination("a"), as_user(sshd, tmp_path, more=more))
    assert refusal.code is Code.CONFIG_INVALID
    assert "circle" in refusal.message


async def test_a_jump_for_every_host_does_not_stand_before_itself(
    sshd: Sshd, tmp_path: Path
) -> None:
    more = "Host *\n  ProxyJump mac\n"
    async with await entered(MAC, as_user(sshd, tmp_path, more=more)):
        pass


async def test_a_login_without_our_key_says_whom_and_what_to_do(sshd: Sshd, tmp_path: Path) -> None:
    sshd.forget_keys()
    refusal = await refused(MAC, as_user(sshd, tmp_path))
    assert refusal.code is Code.HOST_REFUSED
    assert f"user {sshd.user}" in refusal.message
    assert "authorized_keys" in refusal.message


async def test_a_locked_key_without_an_agent_asks_for_one(sshd: Sshd, tmp_path: Path) -> None:
    sshd.authorize(make_key(sshd.client_key, passphrase="correct horse"))
    refusal = await refused(MAC, as_user(sshd, tmp_path))
    assert refusal.code is Code.HOST_REFUSED
    assert str(sshd.client_key) in refusal.message
    assert "use ssh-agent" in refusal.message


async def test_a_key_that_only_the_agent_holds_is_used(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = as_user(sshd, tmp_path)
    with agent(tmp_path / "agent", sshd.client_key) as socket:
        sshd.client_key.unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        async with await entered(MAC, login):
            pass


@contextlib.contextmanager
def agent(socket: Path, key: Path) -> Generator[Path]:
    argv = ["ssh-agent", "-D", "-a", str(socket)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        try:
            env = {"SSH_AUTH_SOCK": str(socket), "PATH": "/usr/bin:/bin"}
            add = ["sh", "-c", 'until ssh-add -q "$1"; do sleep 0.05; done', "sh", str(key)]
            subprocess.run(add, env=env, check=True, stderr=subprocess.DEVNULL, timeout=10)
            yield socket
        finally:
            process.terminate()


async def test_a_port_where_nobody_listens_is_told_at_once(sshd: Sshd) -> None:
    sshd.kill()
    refusal = await refused(at(sshd), as_daemon(sshd))
    assert refusal.code is Code.UNREACHABLE
    assert f"127.0.0.1:{sshd.port}" in refusal.message


async def test_a_name_without_an_address_is_told(sshd: Sshd) -> None:
    refusal = await refused(Destination("no-such-host.invalid"), as_daemon(sshd))
    assert refusal.code is Code.UNREACHABLE
    assert "no-such-host.invalid" in refusal.message


async def test_a_stopped_server_is_a_timeout(sshd: Sshd) -> None:
    sshd.stop()
    refusal = await refused(at(sshd), as_daemon(sshd, timeout_s=0.3))
    assert refusal.code is Code.TIMEOUT
    assert refusal.message.startswith(f"127.0.0.1:{sshd.port} gives no answer within 0.3 s")


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0"])
async def test_a_host_that_hangs_after_connect_is_a_timeout(greeting: bytes) -> None:
    async with silent(greeting) as port:
        login = Login(KnownHosts(), connect_timeout_s=0.3)
        refusal = await refused(Destination("127.0.0.1", port=port), login)
    assert refusal.code is Code.TIMEOUT


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 5000])
async def test_what_is_no_ssh_server_is_told(greeting: bytes) -> None:
    async with silent(greeting, hang=False) as port:
        login = Login(KnownHosts(), connect_timeout_s=0.5)
        refusal = await refused(Destination("127.0.0.1", port=port), login)
    assert refusal.code is Code.UNREACHABLE


@contextlib.asynccontextmanager
async def silent(greeting: bytes, *, hang: bool = True) -> AsyncGenerator[int]:
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        if hang:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()


async def test_a_login_that_is_given_up_leaves_no_connection(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await connect(at(sshd), as_daemon(sshd))
    sshd.resume()
    async with await entered(at(sshd), as_daemon(sshd)):
        pass


async def test_a_server_that_turns_strangers_away_is_asked_again(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "sshd", settings="MaxStartups 1:50:4") as sshd:
        async with asyncio.TaskGroup() as tasks:
            logins = [tasks.create_task(entered(at(sshd), as_daemon(sshd))) for _ in range(10)]
        for login in logins:
            await login.result().aclose()
