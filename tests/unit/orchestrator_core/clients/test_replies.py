"""Whatever a daemon answers, or does not answer, becomes a typed value or one clear error."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient, OrchestratorClient
from orchestrator_core.clients.pool import AsyncPoolClient, PoolClient
from orchestrator_core.clients.replies import Peer, unreachable
from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import (
    CapacityError,
    Code,
    LlorchError,
    PeerError,
    RequestError,
)
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, fake_orchestrator

TASK = TaskSubmit(model="tiny-chat", prompt="Hello", max_tokens=5)


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator() as served:
        yield served


@pytest.fixture
def client(fake: FakeOrchestrator) -> Iterator[OrchestratorClient]:
    with OrchestratorClient(fake.url, "k1", timeout_s=10) as opened:
        yield opened


def closed_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_submits_with_key_and_idempotency_key(
    fake: FakeOrchestrator, client: OrchestratorClient
) -> None:
    accepted = client.submit(TASK, idempotency_key="once")
    assert accepted.job_id == JOB_ID
    asked = fake.last("POST", "/v2/tasks")
    assert asked.headers["authorization"] == "Bearer k1"
    assert asked.headers["idempotency-key"] == "once"
    assert asked.headers["content-type"] == "application/json"
    assert TaskSubmit.model_validate(asked.body) == TASK
    assert None not in asked.body.values()


def test_asks_only_for_the_filters_that_were_given(
    fake: FakeOrchestrator, client: OrchestratorClient
) -> None:
    page = client.jobs(status="queued", limit=3)
    assert [item.id for item in page.items] == [JOB_ID]
    assert fake.last("GET", "/v2/tasks").query == {"status": "queued", "limit": "3"}


def test_reads_job_cancel_pools_and_health(client: OrchestratorClient) -> None:
    assert client.job(JOB_ID).output == "Hello!"
    assert client.cancel(JOB_ID).status == "cancelled"
    assert client.pools().items == []
    assert client.live().status == "ok"


def test_not_ready_is_an_answer(fake: FakeOrchestrator, client: OrchestratorClient) -> None:
    fake.raw["GET /readyz"] = (503, '{"status": "starting", "reasons": ["replay"]}')
    assert client.ready().reasons == ("replay",)
    fake.refusals["GET /readyz"] = (403, "FORBIDDEN_HOST", "no")
    del fake.raw["GET /readyz"]
    with pytest.raises(RequestError):
        client.ready()


def test_id_from_outside_cannot_leave_its_path_segment(
    fake: FakeOrchestrator, client: OrchestratorClient
) -> None:
    with pytest.raises(LlorchError):
        client.job("../pools?x=1")
    assert fake.asked[-1].path == "/v2/tasks/..%2Fpools%3Fx%3D1"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, Code.JOB_NOT_FOUND, RequestError),
        (401, Code.BAD_KEY, RequestError),
        (429, Code.QUEUE_FULL, CapacityError),
        (503, Code.LOADING, CapacityError),
    ],
)
def test_envelope_becomes_the_error_of_its_code(
    fake: FakeOrchestrator,
    client: OrchestratorClient,
    status: int,
    code: Code,
    kind: type[LlorchError],
) -> None:
    fake.refusals["POST /v2/tasks"] = (status, code, "no luck")
    with pytest.raises(kind) as caught:
        client.submit(TASK)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.message, refusal.retry_after_s) == (code, "no luck", 7)
    assert refusal.details == {"status": status, "correlation_id": "c-1"}


def test_unknown_code_keeps_status_code_and_message(
    fake: FakeOrchestrator, client: OrchestratorClient
) -> None:
    fake.refusals["POST /v2/tasks"] = (418, "TEAPOT", "short and stout")
    with pytest.raises(PeerError) as caught:
        client.submit(TASK)
    assert caught.value.code is Code.INTERNAL
    assert caught.value.refusal.message == "orchestratord answered 418 TEAPOT: short and stout"


@pytest.mark.parametrize("status", [200, 500])
def test_foreign_server_is_named_as_one(
    fake: FakeOrchestrator, client: OrchestratorClient, status: int
) -> None:
    fake.raw["GET /v2/pools"] = (status, "<html>nginx</html>")
    with pytest.raises(PeerError) as caught:
        client.pools()
    assert fake.url in caught.value.refusal.message
    assert "\n" not in caught.value.refusal.message


def test_nobody_listening_names_the_url_and_the_command() -> None:
    url = closed_url()
    with OrchestratorClient(url, None) as client, pytest.raises(PeerError) as caught:
        client.live()
    assert caught.value.code is Code.UNREACHABLE
    expected = f"nothing answers at {url}; start orchestratord with: llorch orchestrator start"
    assert caught.value.refusal.message == expected
    with PoolClient(url, None) as pool, pytest.raises(PeerError, match="llorch-pool daemon start"):
        pool.health()


def test_nobody_at_another_machine_is_not_helped_by_a_command_here() -> None:
    url = "http://attic.lan:8080"
    refused = unreachable(Peer("orchestratord", url, "llorch up"), httpx.ConnectError("no"))
    assert refused.refusal.message == (
        f"nothing answers at {url}; is orchestratord up there, and does this machine reach that port?"
    )


def test_silent_server_is_a_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        OrchestratorClient(
            f"http://127.0.0.1:{listener.getsockname()[1]}", None, timeout_s=0.05
        ) as client,
        pytest.raises(PeerError) as caught,
    ):
        client.live()
    assert caught.value.code is Code.TIMEOUT


def test_server_that_hangs_up_is_unreachable() -> None:
    def hang_up(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("gone", request=request)

    transport = httpx.MockTransport(hang_up)
    with (
        OrchestratorClient("http://x", None, transport=transport) as client,
        pytest.raises(PeerError, match="closed the connection"),
    ):
        client.live()


@pytest.mark.parametrize("url", ["ftp://x", "http://x:port", "nonsense"])
def test_nonsense_as_url_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(RequestError, match="is not an http URL"):
        OrchestratorClient(url, None).live()


def test_key_that_is_no_key_is_refused_before_the_call() -> None:
    for key in ("schlüssel", "two\nlines"):
        with pytest.raises(RequestError, match="BAD_KEY"):
            OrchestratorClient("http://x", key)


async def test_async_clients_speak_the_same_language(fake: FakeOrchestrator) -> None:
    fake.refusals["POST /v2/pools/p/heartbeat"] = (409, "STALE_SESSION", "a newer one is open")
    async with AsyncPoolClient(fake.url, "k") as pool:
        with pytest.raises(RequestError, match="NOT_FOUND"):
            await pool.status()
    async with AsyncPoolClient(closed_url(), "k") as pool:
        with pytest.raises(PeerError, match="UNREACHABLE"):
            await pool.status()
    async with AsyncOrchestratorClient(fake.url, "k") as client:
        assert (await client.call("GET", "/livez", _health())).status == "ok"
    with pytest.raises(RequestError):
        AsyncOrchestratorClient("http://x:port", None)


def _health() -> type:
    from orchestrator_core.contracts.control import Health

    return Health
