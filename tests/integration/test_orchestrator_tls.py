"""HTTPS by certificate files: one port that speaks nothing else, and whom its clients trust."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient, OrchestratorClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.control import Health
from orchestrator_core.contracts.pool import PoolRegister
from orchestrator_core.errors import Code, LlorchError, PeerError, RequestError
from support.certificates import AUTHORITY, EXPIRED, LOCAL, SIGNED, tls_files
from support.event_streams import chunks_of, said
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    cert_file, key_file = tls_files(tmp_path / "tls")
    async with running_orchestrator(tmp_path, tls_cert=cert_file, tls_key=key_file) as site:
        yield site
        assert site.failures == []


def pinned(folder: Path) -> Trust:
    return Trust(folder / "tls" / "cert.pem", is_peers_own=True)


async def live(url: str, trust: Trust | None) -> Health:
    def ask() -> Health:
        with OrchestratorClient(url, None, trust=trust) as client:
            return client.live()

    return await asyncio.to_thread(ask)


async def test_an_answer_streams_over_https(site: Orchestrator) -> None:
    assert site.url.startswith("https://127.0.0.1:")
    async with FakeEngine.listening() as engine:
        await site.register(ready_worker(engine.port))
        async with site.chat() as stream:
            await (await engine.next_call()).answer("Hel", "lo")
            chunks = await chunks_of(stream)
    assert (said(chunks[:-1]), chunks[-1]) == ("Hello", "[DONE]")


@pytest.mark.parametrize(
    "said_first",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00" * 300,
        b"\x16\x03\x01\xff\xff",
        b"",
    ],
    ids=["plain http", "zeros", "half a hello", "nothing"],
)
async def test_whoever_speaks_no_tls_is_sent_off_and_harms_nobody(
    site: Orchestrator, said_first: bytes
) -> None:
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said_first)
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert b"HTTP" not in answer
    writer.close()
    assert (await site.client.get("/livez")).status_code == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_versions_of_now_are_spoken(
    site: Orchestrator, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = pinned(tmp_path).context()
    context.minimum_version = context.maximum_version = version
    port = int(site.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    assert writer.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
    writer.close()


async def test_older_versions_are_refused(site: Orchestrator, tmp_path: Path) -> None:
    context = pinned(tmp_path).context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = int(site.url.rpartition(":")[2])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")


async def test_a_daemon_of_this_machine_is_known_by_its_own_certificate_whatever_its_name(
    tmp_path: Path,
) -> None:
    cert_file, key_file = tls_files(tmp_path / "tls", SIGNED)
    async with running_orchestrator(tmp_path, tls_cert=cert_file, tls_key=key_file) as site:
        assert (await live(site.url, pinned(tmp_path))).status == "ok"
        authority = tmp_path / "authority.pem"
        authority.write_text(AUTHORITY)
        with pytest.raises(PeerError, match=r"not trusted.*LLORCH_CA_FILE"):
            await live(site.url, Trust(authority))
        with pytest.raises(PeerError, match="not trusted"):
            await live(site.url, None)


async def test_an_authority_vouches_for_the_name(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path / "tls", LOCAL)
    authority = tmp_path / "authority.pem"
    authority.write_text(AUTHORITY)
    async with running_orchestrator(tmp_path, tls_cert=cert_file, tls_key=key_file) as site:
        assert (await live(site.url, Trust(authority))).status == "ok"


async def test_an_expired_certificate_serves_this_machine_and_nobody_else(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path / "tls", EXPIRED)
    async with running_orchestrator(tmp_path, tls_cert=cert_file, tls_key=key_file) as site:
        assert (await live(site.url, pinned(tmp_path))).status == "ok"
        with pytest.raises(PeerError, match="certificate has expired"):
            await live(site.url, Trust(cert_file))


async def test_the_wrong_scheme_is_told_apart_from_silence(
    site: Orchestrator, tmp_path: Path
) -> None:
    with pytest.raises(LlorchError, match="closed the connection"):
        await live(site.url.replace("https:", "http:"), None)
    async with running_orchestrator(tmp_path / "plain") as plain:
        with pytest.raises(PeerError, match="does not speak HTTPS"):
            await live(plain.url.replace("http:", "https:"), pinned(tmp_path))


@pytest.mark.parametrize("content", ["", "no certificate", "ä", None])
def test_a_file_that_vouches_for_nothing_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(RequestError, match=r"cannot use the certificate in .*ca\.pem") as caught:
        OrchestratorClient("https://localhost:1", None, trust=Trust(path))
    assert caught.value.code is Code.CONFIG_INVALID


async def test_a_pool_opens_its_session_over_https(site: Orchestrator, tmp_path: Path) -> None:
    body = {**site.registration(), "session_id": site.ids.session()}
    trust = pinned(tmp_path)
    async with AsyncOrchestratorClient(site.url, site.pool_key, trust=trust) as client:
        registered = await client.register(PoolRegister.model_validate(body))
    assert registered.heartbeat_interval_s > 0
    assert len(site.parts.loop.machine.pools()) == 1
