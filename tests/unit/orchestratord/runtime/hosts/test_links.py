"""Links to hosts, with connections that a test makes, ends and refuses; the pool's HTTP is real."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator_core.clients.pins import read_certificate
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.ids import PoolId
from orchestratord.runtime.enrolments import Joining
from orchestratord.runtime.hosts.course import LinkState, LinkView
from orchestratord.store.rows import PoolRow
from support.certificates import SELF_SIGNED, SIGNED
from support.fake_session_pool import FakeSessionPool
from support.link_lab import MAC, joined, row, running_links
from support.waiting import until

KEY_CHANGED = Refusal(Code.HOST_KEY_CHANGED, "mac shows another key: llorch host trust mac")


@pytest.fixture
async def pool() -> AsyncIterator[FakeSessionPool]:
    async with FakeSessionPool.listening() as pool:
        yield pool


async def test_the_token_is_shown_once_and_the_credential_opens_the_session(
    pool: FakeSessionPool,
) -> None:
    async with running_links(row(pool)) as lab:
        lab.links.open()
        await pool.held()
        kept = lab.enrolments.row(MAC)
        assert kept is not None
        assert (kept.join_token, kept.credential) == (None, pool.credential)
        pool.end_session()
        await pool.held(2)
        assert pool.joins == [pool.token]
        assert len(lab.connections) == 1


async def test_messages_reach_the_desk_and_are_answered(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        assert lab.links.view(MAC) == LinkView(LinkState.CONNECTING)
        assert (await pool.register())["registered"]["session_id"] == pool.session_id
        assert (await pool.beat())["reply"]["wanted"]["revision"] == 0
        assert (lab.registered, lab.beats) == ([pool.session_id], [1])
        assert lab.links.view(MAC) == LinkView(LinkState.UP)


async def test_a_lost_connection_is_made_anew_and_its_reason_is_told(
    pool: FakeSessionPool,
) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        await pool.register()
        lab.refusals.append(Refusal(Code.UNREACHABLE, "nothing answers at mac.example"))
        lab.connections[0].end("mac.example stopped answering")
        assert (await lab.view_of(LinkState.CONNECTING)).reason == "mac.example stopped answering"
        assert lab.links.connection(MAC) is None
        await pool.held(2)
        assert len(lab.connections) == 3
        await pool.register()
        assert lab.links.view(MAC) == LinkView(LinkState.UP)


async def test_a_session_that_ends_is_opened_anew_over_the_same_connection(
    pool: FakeSessionPool,
) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        await pool.register()
        pool.end_session()
        view = await lab.view_of(LinkState.CONNECTING)
        assert view.reason == "on host mac: its daemon ended the session"
        await pool.held(2)
        assert [connection.over.done() for connection in lab.connections] == [False]


async def test_a_silent_session_is_opened_anew(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool), silence_s=0.05) as lab:
        lab.links.open()
        await pool.held(2)
        assert len(lab.connections) == 1


async def test_what_a_person_must_mend_waits_for_the_person(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.refusals.append(KEY_CHANGED)
        lab.links.open()
        assert (await lab.view_of(LinkState.NEEDS_ATTENTION)).reason == KEY_CHANGED.message
        assert (len(lab.connections), lab.links.connection(MAC)) == (1, None)
        await lab.enrolments.put(replace(joined(pool), host_keys=("ssh-ed25519 BBBB",)))
        await pool.held()
        assert len(lab.connections) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"join_token": "another-token-of-mac"}, "on host mac: this token opens nothing here"),
        ({"join_token": None}, "on host mac: no token to join with is left"),
        ({"join_token": None, "credential": "old"}, "on host mac: this key opens no session"),
    ],
)
async def test_a_host_that_does_not_know_us_is_for_a_person(
    pool: FakeSessionPool, change: dict[str, str], reason: str
) -> None:
    async with running_links(row(pool, **change)) as lab:
        lab.links.open()
        view = await lab.view_of(LinkState.NEEDS_ATTENTION)
        assert (view.reason or "").startswith(reason)
        await lab.enrolments.put(row(pool))
        await pool.held()
        assert pool.joins[-1] == pool.token


async def test_a_daemon_that_is_away_leaves_the_connection_alone(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        pool.stop_listening()
        await until(lambda: "start pool-managerd with" in str(lab.links.view(MAC)))
        assert lab.links.connection(MAC) is not None


async def test_an_answer_that_nobody_waits_for_ends_no_session(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        pool.refuse_answers = True
        await pool.tell("heartbeat", {})
        await until(lambda: pool.refused == 1, what="an answer that is refused")
        pool.refuse_answers = False
        await pool.register()
        assert pool.streams == 1


async def test_a_host_that_moved_is_reached_where_it_is_now(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        await lab.enrolments.put(replace(joined(pool), endpoint="ssh://mac.example:2222"))
        await pool.held(2)
        assert [connection.over.done() for connection in lab.connections] == [True, False]


async def test_a_removed_host_is_let_go_of(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        await lab.enrolments.remove(MAC)
        assert (lab.links.view(MAC), lab.links.connection(MAC)) == (None, None)
        assert await lab.connections[0].wait_closed() == "the connection was ended by us"


async def test_a_host_that_is_enrolled_later_gets_a_link(pool: FakeSessionPool) -> None:
    async with running_links() as lab:
        lab.links.open()
        await lab.enrolments.put(joined(pool))
        await pool.held()


async def test_a_pool_that_comes_to_us_has_no_link(pool: FakeSessionPool) -> None:
    pushing = replace(joined(pool), endpoint="https://mac.example:9200")
    async with running_links(pushing) as lab:
        lab.links.open()
        assert lab.links.view(MAC) is None
        await lab.enrolments.put(joined(pool))
        await pool.held()
        await lab.enrolments.put(pushing)
        assert lab.links.view(MAC) is None


async def test_an_unforeseen_fault_of_one_link_is_told_and_tried_again(
    pool: FakeSessionPool, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_links(joined(pool)) as lab:
        lab.refusals.append(RuntimeError("odd"))
        lab.links.open()
        view = await lab.view_of(LinkState.CONNECTING)
        await until(lambda: lab.links.view(MAC) != view or pool.streams)
        await pool.held()
        assert len(lab.connections) == 2


async def test_closing_ends_everything(pool: FakeSessionPool) -> None:
    async with running_links(joined(pool)) as lab:
        lab.links.open()
        await pool.held()
        await lab.links.close()
        assert lab.connections[0].over.done()
        await lab.enrolments.put(row(pool, host_keys=("ssh-ed25519 CCCC",)))
        assert len(lab.connections) == 1


async def test_a_host_that_moved_while_we_connected_gets_no_word_at_its_old_place(
    pool: FakeSessionPool,
) -> None:
    async with running_links(row(pool)) as lab:
        lab.may_connect.clear()
        lab.links.open()
        await lab.connected(1)
        moved = row(
            pool, endpoint="ssh://mac.example:2222", join_token="the-token-of-the-new-place"
        )
        pool.token = "the-token-of-the-new-place"
        await lab.enrolments.put(moved)
        lab.may_connect.set()
        await pool.held()
        assert [connection.over.done() for connection in lab.connections] == [True, False]
        assert pool.joins == [pool.token]


async def test_one_host_is_not_two_pools(pool: FakeSessionPool) -> None:
    pool.calls_itself = "attic"
    async with running_links(row(pool)) as lab:
        lab.links.open()
        view = await lab.view_of(LinkState.NEEDS_ATTENTION)
        assert view.reason == (
            "on host mac: the pool there is called attic: one host cannot be two pools"
        )
        kept = lab.enrolments.row(MAC)
        assert kept is not None
        assert kept.credential is None


async def test_why_a_pool_is_not_taken_is_shown_and_its_session_stays(
    pool: FakeSessionPool,
) -> None:
    async with running_links(joined(pool)) as lab:
        lab.refused_word = Refusal(
            Code.VERSION_SKEW, "pool mac is too old: llorch host upgrade mac"
        )
        lab.links.open()
        await pool.held()
        assert (await pool.register())["error"]["code"] == "VERSION_SKEW"
        view = lab.links.view(MAC)
        told = "on host mac: pool mac is too old: llorch host upgrade mac"
        assert view == LinkView(LinkState.NEEDS_ATTENTION, told)
        lab.refused_word = None
        await pool.register()
        assert lab.links.view(MAC) == LinkView(LinkState.UP)
        assert pool.streams == 1


class FullOnce:
    """A disk that is full when the credential comes."""

    def __init__(self) -> None:
        self.kept: list[PoolRow] = []
        self.failures = 0

    async def keep(self, row: PoolRow, joining: Joining | None) -> None:
        assert joining is None
        if not self.failures:
            self.failures += 1
            raise error_for(Refusal(Code.DISK_LOW, "no space is left"))
        self.kept.append(row)

    async def forget(self, pool_id: PoolId) -> None:
        raise AssertionError(pool_id)


async def test_a_credential_that_could_not_be_kept_is_not_used_up(pool: FakeSessionPool) -> None:
    disk = FullOnce()
    async with running_links(row(pool), keeping=disk) as lab:
        lab.links.open()
        await pool.held()
        assert pool.joins == [pool.token, pool.token]
        assert [kept.credential for kept in disk.kept] == [pool.credential]


async def test_a_daemon_that_speaks_tls_is_known_by_the_certificate_it_showed_first(
    pool: FakeSessionPool,
) -> None:
    async with running_links(row(pool)) as lab:
        lab.shown = SELF_SIGNED
        lab.links.open()
        await pool.held()
        kept = lab.enrolments.row(MAC)
        assert kept is not None
        pinned = read_certificate(SELF_SIGNED)
        assert not isinstance(pinned, Refusal)
        assert (kept.certificate, kept.credential) == (pinned.pem, pool.credential)
        assert [trust is None for trust in lab.connections[0].trusts] == [True, False, False]


async def test_another_certificate_than_the_first_is_for_a_person(pool: FakeSessionPool) -> None:
    pinned = read_certificate(SIGNED)
    assert not isinstance(pinned, Refusal)
    async with running_links(replace(joined(pool), certificate=pinned.pem)) as lab:
        pool.stop_listening()
        lab.shown = SELF_SIGNED
        lab.links.open()
        view = await lab.view_of(LinkState.NEEDS_ATTENTION)
        assert (view.reason or "").startswith(
            "on host mac: its daemon shows another certificate than before (SHA-256 "
        )
        kept = lab.enrolments.row(MAC)
        assert kept is not None
        assert kept.certificate == pinned.pem
