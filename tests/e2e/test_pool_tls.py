"""A pool whose port others can reach: HTTPS by its own certificate, and every command goes on."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.errors import Code, PeerError
from support.certificates import SELF_SIGNED, tls_files
from support.home import Finished, Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

DAEMON = Path(sys.executable).parent / "pool-managerd"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An installation whose pool is reached from everywhere."""
    home = Home(tmp_path / "home", {"LLORCH_POOL_BIND": "0.0.0.0:0"})
    home.folder.mkdir()
    yield home
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


def local_url(home: Home) -> str:
    """The same port by the address that every machine has."""
    return f"https://127.0.0.1:{home.pool_url.rpartition(':')[2]}"


def own_certificate(home: Home) -> Path:
    return home.state / "pool/tls.crt"


def run_daemon(home: Home, *args: str) -> Finished:
    """Run the daemon itself in the foreground; only where it refuses to start."""
    argv = (str(DAEMON), *args)
    done = subprocess.run(
        argv, env=home.env, capture_output=True, text=True, timeout=30, check=False
    )
    return Finished(argv, done.returncode, done.stdout, done.stderr)


def test_everything_of_this_host_works_over_https(home: Home) -> None:
    home.pool("daemon", "start").must()
    assert home.pool_url.startswith("https://")
    assert home.run_file("pool-managerd")["ca_file"] == str(own_certificate(home))
    for name in ("tls.crt", "tls.key"):
        assert (home.state / "pool" / name).stat().st_mode & 0o777 == 0o600
    for words in (("status",), ("worker", "list"), ("models", "list"), ("devices",)):
        home.pool(*words).must()
        home.pool(*words, "--url", home.pool_url).must()
    assert "is draining" in home.pool("daemon", "drain").must().out
    home.env["LLORCH_CA_FILE"] = str(own_certificate(home))
    home.env["LLORCH_API_KEY"] = (home.state / "pool/pool.key").read_text()
    home.pool("status", "--url", local_url(home)).must()
    del home.env["LLORCH_CA_FILE"]
    done = home.pool("status", "--url", local_url(home)).must(5)
    assert "is not trusted" in done.err
    assert "LLORCH_CA_FILE" in done.err


def test_the_certificate_is_made_once_and_is_the_only_one_that_counts(
    home: Home, tmp_path: Path
) -> None:
    home.pool("daemon", "start").must()
    text = own_certificate(home).read_text()
    home.pool("daemon", "stop").must()
    home.pool("daemon", "start").must()
    assert own_certificate(home).read_text() == text
    pinned = Trust(own_certificate(home), is_peers_own=True)
    with PoolClient(local_url(home), None, trust=pinned) as pool:
        assert pool.health().status == "ok"
    other, _ = tls_files(tmp_path / "other", SELF_SIGNED)
    with (
        PoolClient(local_url(home), None, trust=Trust(other, is_peers_own=True)) as pool,
        pytest.raises(PeerError) as caught,
    ):
        pool.health()
    assert caught.value.code is Code.UNREACHABLE
    assert "is not trusted" in caught.value.refusal.message
    done = home.pool("status", "--url", local_url(home).replace("https:", "http:")).must(1)
    assert "this port speaks HTTPS" in done.err
    assert done.err.count("\n") == 1


def test_an_operator_may_name_another_certificate(home: Home, tmp_path: Path) -> None:
    cert, key = tls_files(tmp_path / "tls")
    home.env |= {"LLORCH_POOL_TLS_CERT": str(cert), "LLORCH_POOL_TLS_KEY": str(key)}
    home.pool("daemon", "start").must()
    assert home.run_file("pool-managerd")["ca_file"] == str(cert)
    assert not own_certificate(home).exists()
    home.pool("status").must()


def test_loopback_speaks_plain_http_unless_https_is_wanted(home: Home) -> None:
    home.env["LLORCH_POOL_BIND"] = "127.0.0.1:0"
    home.pool("daemon", "start").must()
    assert home.pool_url.startswith("http://")
    assert not own_certificate(home).exists()
    home.pool("daemon", "stop").must()
    home.env["LLORCH_POOL_TLS"] = "true"
    home.pool("daemon", "start").must()
    assert home.pool_url.startswith("https://127.0.0.1:")
    home.pool("status").must()


def test_plain_http_for_others_takes_an_express_wish(home: Home) -> None:
    done = run_daemon(home, "--no-tls").must(78)
    assert done.err.count("\n") == 1
    assert "insecure_lan" in done.err
    home.env["LLORCH_POOL_INSECURE_LAN"] = "true"
    home.pool("daemon", "start").must()
    assert home.pool_url.startswith("http://")


def test_a_damaged_certificate_is_one_line_with_the_way_out(home: Home) -> None:
    home.pool("daemon", "start").must()
    home.pool("daemon", "stop").must()
    own_certificate(home).write_text("nonsense")
    done = run_daemon(home).must(78)
    assert done.err.count("\n") == 1
    assert f"remove {own_certificate(home)}" in done.err
    own_certificate(home).unlink()
    home.pool("daemon", "start").must()


def test_show_config_makes_no_certificate(home: Home) -> None:
    done = run_daemon(home, "--show-config").must()
    assert json.loads(done.out)["settings"]["tls"] is None
    assert not own_certificate(home).exists()


def test_the_certificate_bears_our_names(home: Home) -> None:
    home.pool("daemon", "start").must()
    context = ssl.create_default_context(cafile=own_certificate(home))
    port = local_url(home).rpartition(":")[2]
    for name in ("127.0.0.1", "localhost"):
        reply = httpx.get(f"https://{name}:{port}/health", verify=context, trust_env=False)
        assert reply.status_code == 200
