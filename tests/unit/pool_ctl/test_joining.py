"""A host that joins: what an orchestrator may do to it, a crash, a full disk and a second command."""

import errno
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.daemons import Daemons, Running
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.contracts.pool import PoolStatusView
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.platforms import files
from pool_ctl.pools.hub import Hub
from pool_ctl.pools.joining import Joining, JoinOrder
from pool_ctl.pools.keepsakes import Keepsakes, Known
from pool_ctl.pools.reserved import Reserved
from pool_ctl.pools.settings_file import SettingsFile
from pool_ctl.settings import CliSettings
from support.certificates import SELF_SIGNED
from support.deaths import die_at, in_a_child
from support.run_files import announce

TOKEN = "a-token-of-this-test"
KEY = "llo_pool_a-key-of-this-test"
JOINED = json.dumps({"pool_id": "attic", "key": KEY}).encode()
OURS = '# Ours.\nbind = "127.0.0.1:9300"\n'


@dataclass
class Peer:
    """Orchestrator and pool at one address; what it was asked, and what it says to a join."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    status: int = 200
    answer: bytes = JOINED
    location: str = ""

    def reply_to(self, path: str) -> tuple[int, bytes]:
        """What it says."""
        self.asked.append(path)
        if path == "/status":
            return 200, view(self.url).model_dump_json().encode()
        return (self.status, self.answer) if path == "/v2/pools/join" else (200, b'{"status":"ok"}')


def view(url: str) -> PoolStatusView:
    return PoolStatusView(
        pool_id="attic",
        version="1",
        session_id="s",
        orchestrator_url=url,
        orchestrator_connected=True,
        devices=[],
        workers=[],
        models=[],
    )


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Two servers: the one that is joined, and one that nobody may be sent to."""
    with ExitStack() as stack:
        yield [stack.enter_context(_Serving()) for _ in range(2)]


class _Serving:
    def __enter__(self) -> Peer:
        self.peer = peer = Peer()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = peer.reply_to(self.path)
                self.send_response(status)
                if peer.location:
                    self.send_header("Location", peer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.do_GET()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        peer.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return peer

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class FakeDaemons:
    """A daemon on paper: it is at the peer's address whenever it runs."""

    def __init__(self, run: RunFile) -> None:
        self.run = run
        self.is_up = False
        self.pace = Pace()

    def running(self, _program: object) -> RunFile | None:
        return self.run if self.is_up else None

    def start(self, _program: object) -> Running:
        self.is_up = True
        return Running(self.run, fresh=True)

    def stop(self, _program: object, *, grace_s: float) -> None:
        assert grace_s
        self.is_up = False


@dataclass(frozen=True, slots=True)
class Settings(CliSettings):
    """Those of a command whose daemons are on paper."""

    fakes: FakeDaemons

    def daemons(self) -> Daemons:
        return cast("Daemons", self.fakes)


@dataclass
class Host:
    layout: Layout
    daemons: FakeDaemons
    joining: Joining
    said: list[str]

    @property
    def settings(self) -> Path:
        return self.layout.config_file("pool")

    def kept(self) -> list[str]:
        """What a join has left in the pool's folder."""
        return sorted(path.name for path in self.layout.pool_folder.glob("*orchestrator*"))


@pytest.fixture
def host(tmp_path: Path, peers: list[Peer]) -> Host:
    layout = Layout.from_env({"LLORCH_HOME": str(tmp_path / "home")})
    files.ensure_folder(layout.run_folder)
    files.ensure_folder(layout.config_file("pool").parent)
    layout.config_file("pool").write_text(OURS)
    cert = tmp_path / "tls.crt"
    cert.write_text(SELF_SIGNED)
    run = announce(layout, "pool-managerd", peers[0].url).model_copy(update={"ca_file": str(cert)})
    daemons, said = FakeDaemons(run), list[str]()
    joining = Joining(Settings({}, layout, daemons), said.append)
    return Host(layout, daemons, joining, said)


def join(host: Host, peer: Peer) -> None:
    with host.joining.alone():
        host.joining.join(JoinOrder(hub=Hub(peer.url), token=TOKEN, pin=SELF_SIGNED))


def is_as_before(host: Host) -> None:
    assert host.settings.read_text() == OURS
    assert host.kept() == []
    assert [path.name for path in host.settings.parent.iterdir()] == ["pool.toml"]
    assert not host.daemons.is_up


def test_a_join_keeps_key_certificate_and_settings(host: Host, peers: list[Peer]) -> None:
    join(host, peers[0])
    assert host.layout.pool_orchestrator_key.read_text() == f"{KEY}\n"
    assert host.layout.pool_orchestrator_ca.read_text() == SELF_SIGNED
    assert f'orchestrator_url = "{peers[0].url}"' in host.settings.read_text()
    assert host.kept() == ["orchestrator.crt", "orchestrator.key"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_is_followed_to_another_host(host: Host, peers: list[Peer], status: int) -> None:
    peers[0].status, peers[0].location = status, f"{peers[1].url}/v2/pools/join"
    with pytest.raises(LlorchError, match=f"answered {status}"):
        join(host, peers[0])
    assert peers[1].asked == []
    is_as_before(host)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{}",
        json.dumps({"pool_id": "cellar", "key": KEY}).encode(),
        json.dumps({"pool_id": "attic", "key": "k"}).encode(),
        json.dumps({"pool_id": "attic", "key": f"{KEY}\nanother"}).encode(),
        json.dumps({"pool_id": "attic", "key": KEY * 99}).encode(),
    ],
)
def test_a_nonsensical_answer_is_one_line_and_changes_nothing(
    host: Host, peers: list[Peer], answer: bytes
) -> None:
    peers[0].answer = answer
    with pytest.raises(LlorchError, match="does not answer like orchestratord") as caught:
        join(host, peers[0])
    assert "\n" not in caught.value.refusal.message
    is_as_before(host)


def test_a_person_who_interrupts_finds_all_as_before(
    host: Host, peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        assert "tls = true" in host.settings.read_text()
        raise KeyboardInterrupt

    monkeypatch.setattr(OrchestratorClient, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        join(host, peers[0])
    is_as_before(host)


def test_a_settings_file_that_was_not_there_is_not_there_again(
    host: Host, peers: list[Peer]
) -> None:
    host.settings.unlink()
    peers[0].answer = b""
    with pytest.raises(LlorchError):
        join(host, peers[0])
    assert not host.settings.exists()


@pytest.mark.parametrize("name", ["orchestrator.key", "orchestrator.crt", "pool.toml"])
def test_a_full_disk_costs_no_token(
    host: Host, peers: list[Peer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    take = Reserved.take

    def full(path: Path, size_bytes: int, *, mode: int = 0o600) -> Reserved:
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return take(path, size_bytes, mode=mode)

    monkeypatch.setattr(Reserved, "take", full)
    with pytest.raises(LlorchError, match=f"{name} cannot be written: No space left") as caught:
        join(host, peers[0])
    assert caught.value.code is Code.DISK_LOW
    assert "/v2/pools/join" not in peers[0].asked
    is_as_before(host)


def test_two_commands_at_once_do_not_undo_each_other(host: Host, peers: list[Peer]) -> None:
    with (
        host.joining.alone(),
        pytest.raises(LlorchError, match="is joining or leaving") as caught,
    ):
        join(host, peers[0])
    assert caught.value.code is Code.CONFLICT
    assert peers[0].asked == []
    join(host, peers[0])


def test_a_host_that_is_down_says_whom_it_leaves(host: Host, peers: list[Peer]) -> None:
    join(host, peers[0])
    host.daemons.is_up = False
    asked = len(peers[0].asked)
    assert host.joining.leave() == peers[0].url
    assert host.joining.leave() is None
    assert len(peers[0].asked) == asked
    assert host.kept() == []
    assert "orchestrator" not in host.settings.read_text()


def keepsakes(host: Host) -> Keepsakes:
    return Keepsakes(host.layout, SettingsFile(host.settings))


def keep(host: Host) -> None:
    known = Known("https://hub:8080", None, SELF_SIGNED)
    with keepsakes(host).made_ready(known, "attic") as fill:
        fill(KEY)


def holds_together(host: Host) -> bool:
    """True when the settings name an orchestrator; then all that they name is whole."""
    if "orchestrator_url" not in host.settings.read_text():
        assert host.settings.read_text() in (OURS, f'{OURS}pool_id = "attic"\n')
        return False
    assert host.layout.pool_orchestrator_key.read_text() == f"{KEY}\n"
    assert host.layout.pool_orchestrator_ca.read_text() == SELF_SIGNED
    return True


def test_a_death_in_the_middle_leaves_a_member_or_none(host: Host) -> None:
    for death in range(1, 200):
        code = in_a_child(lambda at=death: _keep_until(host, at))
        holds_together(host)
        if code == 0:
            break
        # Whoever tries again is in nobody's way, not even in that of the one who died.
        keep(host)
        assert holds_together(host)
        keepsakes(host).forget()
        assert host.kept() == []
    else:
        pytest.fail("a join has no end")
    assert death > 10


def _keep_until(host: Host, death: int) -> int:
    die_at(death)
    keep(host)
    return 0
