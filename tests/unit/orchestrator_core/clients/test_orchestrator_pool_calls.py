"""What commands and pools ask of the orchestrator about hosts, on the wire."""

import json
from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient, OrchestratorClient
from orchestrator_core.contracts.joining import JoinRequest, JoinTokenOrder, PoolOrder
from orchestrator_core.contracts.pool import SpawnRequest
from orchestrator_core.testing.reports import worker_report, worker_spec

TOKEN = "one-time-token-of-mac"
VIEW = {
    "pool_id": "mac", "status": "lost", "endpoint": "ssh://mac", "version": "",
    "last_seen_s": None, "devices": [], "workers": [], "road": "ssh", "enrolled": True,
}  # fmt: skip
STATUS = {
    "pool_id": "mac", "version": "0.1.0", "session_id": "s", "orchestrator_url": None,
    "orchestrator_connected": True, "draining": True, "devices": [], "workers": [], "models": [],
}  # fmt: skip
ENROLMENT = {
    "pool_id": "mac", "road": "ssh", "endpoint": "ssh://mac", "joined": False,
    "created_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
ANSWERS: dict[tuple[str, str], object] = {
    ("GET", "/v2/pools/mac"): VIEW,
    ("DELETE", "/v2/pools/mac"): {"status": "removed"},
    ("POST", "/v2/pools"): ENROLMENT,
    ("POST", "/v2/pools/join-tokens"): {
        "pool_id": "mac", "token": TOKEN, "expires_at": "2026-01-01T00:00:00Z",
    },
    ("POST", "/v2/pools/join"): {"pool_id": "mac", "key": "llo_pool_x"},
    ("POST", "/v2/pools/mac/drain"): STATUS,
    ("POST", "/v2/pools/mac/resume"): STATUS,
    ("POST", "/v2/pools/mac/workers/spawn"): worker_report("wrk_a").model_dump(mode="json"),
    ("GET", "/v2/ssh-key"): {"public_key": "ssh-ed25519 AAAA", "fingerprint": "SHA256:x"},
}  # fmt: skip
JOIN = JoinRequest(
    token=SecretStr(TOKEN), pool_id="mac", endpoint="https://mac:9200", version="0.1.0"
)
ORDER = PoolOrder(
    pool_id="mac",
    endpoint="ssh://mac",
    host_keys=("ssh-ed25519 AAAA",),
    token=SecretStr(TOKEN),
)


class Script:
    """Answers by method and path, and remembers what came."""

    def __init__(self) -> None:
        self.bodies: list[object] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content) if request.content else None)
        return httpx.Response(200, json=ANSWERS[request.method, request.url.path])


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.pool("mac").road == "ssh",
        lambda client: client.remove_pool("mac").status == "removed",
        lambda client: client.enrol_pool(ORDER).road == "ssh",
        lambda client: client.join_token(JoinTokenOrder(pool_id="mac")).pool_id == "mac",
        lambda client: client.join(JOIN).key.get_secret_value() == "llo_pool_x",
        lambda client: client.drain("mac").draining,
        lambda client: client.resume("mac").pool_id == "mac",
        lambda client: client.spawn("mac", SpawnRequest(spec=worker_spec())).id == "wrk_a",
        lambda client: client.ssh_identity().fingerprint == "SHA256:x",
    ],
)
def test_each_call_finds_its_route(call: Callable[[OrchestratorClient], bool]) -> None:
    with OrchestratorClient("http://o", "k", transport=httpx.MockTransport(Script())) as client:
        assert call(client)


async def test_a_pool_joins_without_a_key_and_sends_its_token() -> None:
    script = Script()
    transport = httpx.MockTransport(script)
    async with AsyncOrchestratorClient("http://o", None, transport=transport) as client:
        assert (await client.join(JOIN)).pool_id == "mac"
    [body] = script.bodies
    assert isinstance(body, dict)
    assert body["token"] == TOKEN


def test_tokens_travel_and_are_never_printed() -> None:
    script = Script()
    with OrchestratorClient("http://o", "k", transport=httpx.MockTransport(script)) as client:
        made = client.join_token(JoinTokenOrder(pool_id="mac"))
        client.enrol_pool(ORDER)
    assert made.token.get_secret_value() == TOKEN
    assert TOKEN in json.dumps(script.bodies)
    assert TOKEN not in repr((made, ORDER, JOIN))


def test_a_name_is_one_step_of_the_path() -> None:
    seen: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(200, json=VIEW)

    with OrchestratorClient("http://o", "k", transport=httpx.MockTransport(note)) as client:
        client.pool("a/../b?x")
    assert seen == ["/v2/pools/a%2F..%2Fb%3Fx"]
