"""A second installation joins the orchestrator of a first one by one command, and leaves again."""

import contextlib
import hashlib
import json
import ssl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.joining import JoinTokenOrder
from support.certificates import tls_files
from support.home import Finished, Home
from support.pool_commands import spawn
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

ANSWERS = json.loads((Path(__file__).parents[1] / "support/answers.json").read_text("utf-8"))
PROMPT = "What is a worker?"


class Hub:
    """The first installation: an orchestrator that speaks HTTPS, and nothing else."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.cert, key = tls_files(home.folder / "tls")
        settings = home.folder / "config/orchestrator.toml"
        settings.parent.mkdir()
        settings.write_text(f"tls_cert = {str(self.cert)!r}\ntls_key = {str(key)!r}\n")
        home.llorch("orchestrator", "start").must()

    @contextlib.contextmanager
    def client(self) -> Generator[OrchestratorClient]:
        trust = Trust(self.cert, is_peers_own=True)
        with OrchestratorClient(self.home.url, self.home.key, trust=trust) as client:
            yield client

    def token(self, name: str = "attic") -> str:
        with self.client() as client:
            made: SecretStr = client.join_token(JoinTokenOrder(pool_id=name)).token
        return made.get_secret_value()

    @property
    def sha256(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.cert.read_text("ascii"))
        return hashlib.sha256(der).hexdigest()

    def states(self) -> dict[str, str]:
        with self.client() as client:
            return {pool.pool_id: pool.status.value for pool in client.pools().items}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = Home(tmp_path_factory.mktemp("first") / "hub")
    home.folder.mkdir()
    yield Hub(home)
    home.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "attic")
    home.folder.mkdir()
    yield home
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


def join(hub: Hub, host: Home, token: str, *more: str) -> Finished:
    words = ("daemon", "join", "--url", hub.home.url, "--token", token, *more)
    if "--ca-sha256" not in more and "--ca" not in more:
        words += ("--ca-sha256", hub.sha256)
    return host.pool(*words)


def settings_of(host: Home) -> Path:
    return host.folder / "config/pool.toml"


def test_a_host_joins_works_and_leaves(hub: Hub, host: Home) -> None:
    settings_of(host).parent.mkdir()
    settings_of(host).write_text(
        "# Ours.\nstop_grace_s = 5.0  # seconds\n\n[[external]]\n"
        'name = "e"\nurl = "http://127.0.0.1:1"\n'
    )
    token = hub.token()
    done = join(hub, host, token, "--name", "attic").must()
    assert f"attic is a pool of {hub.home.url}" in done.out
    assert host.pool_url.startswith("https://127.0.0.1:")
    assert hub.states() == {"attic": "online"}
    text = settings_of(host).read_text()
    assert text.startswith("# Ours.\nstop_grace_s = 5.0  # seconds\n")
    assert text.endswith('[[external]]\nname = "e"\nurl = "http://127.0.0.1:1"\n')
    for name in ("orchestrator.key", "orchestrator.crt", "tls.key", "tls.crt"):
        assert (host.state / "pool" / name).stat().st_mode & 0o777 == 0o600
    assert not list((host.state / "pool").glob("*.offered"))

    # Every command of this host goes on working, and an answer comes through the relay.
    worker = spawn(host)
    assert worker["status"] == "ready"
    asked = ("jobs", "submit", "--model", "tiny-chat", "--prompt", PROMPT)
    assert hub.home.llorch(*asked).must().out == ANSWERS["tiny-chat"][PROMPT] + "\n"

    again = join(hub, host, token, "--name", "attic").must()
    assert "is already a pool of" in again.out

    left = host.pool("daemon", "leave").must()
    assert f"has left {hub.home.url}" in left.out
    assert "orchestrator" not in settings_of(host).read_text()
    assert not (host.state / "pool/orchestrator.key").exists()
    assert "reports to nobody" in host.pool("daemon", "leave").must().out


@pytest.mark.parametrize(
    ("token", "more", "code", "word"),
    [
        ("a-token-that-nobody-made", (), 4, "this token is not known here"),
        (None, ("--name", "cellar"), 4, "is for the name attic"),
        (None, ("--ca-sha256", "00" * 32), 4, "shows another certificate"),
        (None, ("--ca-sha256", "nonsense"), 1, "64 hex digits"),
        (None, ("--name", "-rf"), 1, "--name wants"),
        (None, ("--name", "a b"), 1, "--name wants"),
        (None, ("--bind", "nonsense"), 1, "--bind"),
        ("short", (), 1, "copy the whole"),
    ],
)
def test_what_goes_wrong_is_one_line_and_changes_nothing(
    hub: Hub, host: Home, token: str | None, more: tuple[str, ...], code: int, word: str
) -> None:
    settings_of(host).parent.mkdir()
    settings_of(host).write_text("# Ours.\n")
    done = join(hub, host, token or hub.token(), *more).must(code)
    assert word in done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert settings_of(host).read_text() == "# Ours.\n"
    assert host.processes() == []
    assert not (host.state / "pool/orchestrator.key").exists()


def test_nobody_answers_there(host: Home) -> None:
    words = ("daemon", "join", "--url", "https://127.0.0.1:1", "--token", "x" * 20)
    done = host.pool(*words, "--ca-sha256", "00" * 32).must(5)
    assert "https://127.0.0.1:1 cannot be reached" in done.err
    done = host.pool("daemon", "join", "--url", "http://10.0.0.1:1", "--token", "x" * 20).must(1)
    assert "is not encrypted" in done.err
