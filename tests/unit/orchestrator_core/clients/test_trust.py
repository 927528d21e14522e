"""Whose certificate a client takes, and that it looks again when a peer shows another one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from orchestrator_core.clients.http import AsyncHttpCaller
from orchestrator_core.clients.replies import Peer
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.control import Health, RunFile
from orchestrator_core.daemon.tls import ServerTls, open_tls
from orchestrator_core.errors import PeerError
from support.certificates import AUTHORITY, LOCAL, SELF_SIGNED, tls_files

_BODY = b'{"status":"ok"}'
_REPLY = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


@contextlib.asynccontextmanager
async def showing(folder: Path, cert: str, port: int = 0) -> AsyncGenerator[int]:
    """Answer every request over HTTPS with one certificate."""
    tls = open_tls(*tls_files(folder, cert))
    assert isinstance(tls, ServerTls)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_REPLY)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=tls.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_peer_that_comes_back_with_another_certificate_is_known_by_the_next_call(
    tmp_path: Path,
) -> None:
    trust = Trust(tmp_path / "cert.pem", is_peers_own=True)
    async with contextlib.AsyncExitStack() as stack:
        async with showing(tmp_path, SELF_SIGNED) as port:
            peer = Peer("a daemon", f"https://127.0.0.1:{port}", "start")
            caller = await stack.enter_async_context(AsyncHttpCaller(peer, None, trust=trust))
            assert (await caller.call("GET", "/", Health)).status == "ok"
        async with showing(tmp_path, LOCAL, port):
            with pytest.raises(PeerError, match="not trusted"):
                await caller.call("GET", "/", Health)
            assert (await caller.call("GET", "/", Health)).status == "ok"


async def test_only_the_first_certificate_of_a_peers_own_file_counts(tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    async with showing(tmp_path, LOCAL) as port:
        peer = Peer("a daemon", f"https://127.0.0.1:{port}", "start")
        for text, knows in ((LOCAL + AUTHORITY, True), (SELF_SIGNED + AUTHORITY + LOCAL, False)):
            chain.write_text(text)
            async with AsyncHttpCaller(peer, None, trust=Trust(chain, is_peers_own=True)) as caller:
                if knows:
                    assert (await caller.call("GET", "/", Health)).status == "ok"
                else:
                    with pytest.raises(PeerError, match="not trusted"):
                        await caller.call("GET", "/", Health)


def test_a_run_file_tells_the_certificate_or_that_there_is_none() -> None:
    run = RunFile(daemon="d", url="u", pid=1, start_time=1, boot_id="b", version="v", instance="i")
    assert Trust.in_run_file(run) is None
    encrypted = run.model_copy(update={"ca_file": "/x/cert.pem"})
    assert Trust.in_run_file(encrypted) == Trust(Path("/x/cert.pem"), is_peers_own=True)
