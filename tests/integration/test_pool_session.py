"""A pool's session over a stream that its orchestrator holds open, from the join to the beats."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.contracts.control import ErrorBody
from orchestrator_core.contracts.pool import HeartbeatReply, PoolRegistered, WantedSet
from orchestrator_core.contracts.session import SessionAnswer
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.stream.sse import SseEvent
from support.join_desk import lay_token
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool
from support.waiting import until

NOTHING = WantedSet(revision=1, workers=[])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[PoolSite]:
    async with running_pool(tmp_path) as site:
        yield site


class Orchestrator:
    """The far end of a session: it reads messages and answers when the test says so."""

    def __init__(self, client: AsyncPoolClient, events: AsyncIterator[SseEvent]) -> None:
        self.client = client
        self._events = events

    async def hear(self, kind: str) -> tuple[int, dict[str, Any]]:
        """The next message, which must be of this kind, and its id."""
        async with asyncio.timeout(10):
            event = await anext(self._events)
        assert event.event == kind
        assert event.id is not None
        return int(event.id), json.loads(event.data)

    async def accept(self, interval_s: float = 60.0) -> dict[str, Any]:
        """Let the pool register."""
        number, word = await self.hear("register")
        registered = PoolRegistered(
            pool_id=word["pool_id"],
            session_id=word["session_id"],
            heartbeat_interval_s=interval_s,
            wanted=NOTHING,
        )
        await self.client.answer(SessionAnswer(id=number, registered=registered))
        return word

    async def note_beat(self, interval_s: float = 60.0) -> dict[str, Any]:
        """Take one beat."""
        number, word = await self.hear("heartbeat")
        reply = HeartbeatReply(wanted=NOTHING, heartbeat_interval_s=interval_s)
        await self.client.answer(SessionAnswer(id=number, reply=reply))
        return word

    async def refuse(self, kind: str, code: Code) -> None:
        """Answer with an error."""
        number, _ = await self.hear(kind)
        error = ErrorBody(code=code, message="no")
        await self.client.answer(SessionAnswer(id=number, error=error))

    async def ended(self) -> bool:
        """Wait for the end of the stream."""
        async with asyncio.timeout(10):
            async for _ in self._events:
                return False
        return True


async def joined(site: PoolSite, folder: Path, token: str = "a-token-of-this-test") -> str:
    """Show a fresh token and get the credential."""
    lay_token(folder, token)
    async with AsyncPoolClient(site.url, None) as client:
        answer = await client.join(SecretStr(token))
    assert answer.pool_id == "home"
    return answer.key.get_secret_value()


@contextlib.asynccontextmanager
async def session(site: PoolSite, key: str) -> AsyncGenerator[Orchestrator]:
    async with AsyncPoolClient(site.url, key) as client, client.session() as events:
        yield Orchestrator(client, events)


async def test_a_session_goes_through_the_stream(site: PoolSite, tmp_path: Path) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        word = await hub.accept()
        assert word["pool_id"] == "home"
        assert word["workers"] == []
        await until(lambda: site.pool.announcer.view.connected, what="the session")
        assert site.pool.status().orchestrator_url == "ssh"
        assert [wanted.revision for wanted in site.workers.wanted] == [1]
        # The orders of this orchestrator come with the key that the registration told.
        async with AsyncPoolClient(site.url, word["control_key"]) as orders:
            assert (await orders.status()).session_id == word["session_id"]
        site.pool.announcer.poke()
        beat = await hub.note_beat()
        assert (beat["seq"], beat["session_id"]) == (1, word["session_id"])
    await until(lambda: not site.pool.announcer.view.connected, what="the end of the session")
    assert site.pool.status().orchestrator_url is None


async def test_the_interval_of_the_orchestrator_holds(site: PoolSite, tmp_path: Path) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        await hub.accept(interval_s=0.02)
        assert [(await hub.note_beat(0.02))["seq"] for _ in range(3)] == [1, 2, 3]


async def test_a_new_stream_begins_a_new_session_at_once(site: PoolSite, tmp_path: Path) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        first = await hub.accept()
    async with session(site, key) as hub:
        second = await hub.accept()
    assert second["session_id"] > first["session_id"]
    assert second["control_key"] != first["control_key"]


async def test_the_newest_of_two_streams_wins(site: PoolSite, tmp_path: Path) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as old:
        await old.accept()
        async with session(site, key) as new:
            assert await old.ended()
            await new.accept()
            await until(lambda: site.pool.announcer.view.connected, what="the session")


async def test_a_stream_that_is_cut_in_the_middle_of_a_question(
    site: PoolSite, tmp_path: Path
) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        number, _ = await hub.hear("register")
    await until(lambda: site.pool.session.find() is None, what="the end of the stream")
    async with session(site, key) as hub:
        await hub.accept()
        registered = PoolRegistered(
            pool_id="home", session_id="x", heartbeat_interval_s=1, wanted=NOTHING
        )
        with pytest.raises(LlorchError) as caught:
            await hub.client.answer(SessionAnswer(id=number, registered=registered))
        assert caught.value.code is Code.CONFLICT
        assert "nobody waits" in caught.value.refusal.message


async def test_a_refused_session_is_opened_anew_as_over_http(
    site: PoolSite, tmp_path: Path
) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        first = await hub.accept(interval_s=0.02)
        await hub.refuse("heartbeat", Code.STALE_SESSION)
        second = await hub.accept()
    assert second["session_id"] != first["session_id"]


async def test_an_answer_of_the_wrong_kind_is_a_refusal(site: PoolSite, tmp_path: Path) -> None:
    key = await joined(site, tmp_path)
    async with session(site, key) as hub:
        number, _ = await hub.hear("register")
        reply = HeartbeatReply(wanted=NOTHING, heartbeat_interval_s=1)
        await hub.client.answer(SessionAnswer(id=number, reply=reply))
        await hub.accept()


async def test_who_comes_again_need_not_wait_for_the_back_off(
    site: PoolSite, tmp_path: Path
) -> None:
    key = await joined(site, tmp_path)
    for _ in range(5):
        async with session(site, key) as hub:
            await hub.hear("register")
    async with session(site, key) as hub:
        await hub.accept()


async def test_a_token_counts_once_and_its_credential_opens_nothing_else(
    site: PoolSite, tmp_path: Path
) -> None:
    key = await joined(site, tmp_path)
    assert not (tmp_path / "join.token").exists()
    assert key not in (tmp_path / "orchestrator.cred").read_text()
    async with AsyncPoolClient(site.url, key) as client:
        with pytest.raises(LlorchError) as caught:
            await client.status()
        assert caught.value.code is Code.SCOPE
    async with session(site, key) as hub:
        await hub.accept()
        async with AsyncPoolClient(site.url, None) as other:
            with pytest.raises(LlorchError) as caught:
                await other.join(SecretStr("a-token-of-this-test"))
        assert caught.value.code is Code.BAD_TOKEN


async def test_a_new_join_ends_the_stream_of_the_old_one(site: PoolSite, tmp_path: Path) -> None:
    old_key = await joined(site, tmp_path)
    async with session(site, old_key) as hub:
        await hub.accept()
        new_key = await joined(site, tmp_path, "another-token-of-this-test")
        assert await hub.ended()
    with pytest.raises(LlorchError) as caught:
        async with session(site, old_key):
            pass
    assert caught.value.code is Code.BAD_KEY
    async with session(site, new_key) as hub:
        await hub.accept()


async def test_the_operator_has_no_session(site: PoolSite) -> None:
    with pytest.raises(LlorchError) as caught:
        async with session(site, OPERATOR_KEY):
            pass
    assert caught.value.code is Code.SCOPE


async def test_a_stream_ends_with_the_daemon(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running_pool(tmp_path) as site:
            key = await joined(site, tmp_path)
            hub = await stack.enter_async_context(session(site, key))
            await hub.accept()
        assert await hub.ended()


async def test_comments_keep_a_quiet_stream_alive(
    site: PoolSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool_managerd.runtime.session._COMMENT_EVERY_S", 0.01)
    key = await joined(site, tmp_path)
    timeout = httpx.Timeout(5)
    async with (
        AsyncPoolClient(site.url, key) as client,
        client.streaming("/session", timeout=timeout) as pieces,
    ):
        comments = 0
        async for piece in pieces:
            comments += piece == b":\n\n"
            if comments == 10:
                break
    assert comments == 10
