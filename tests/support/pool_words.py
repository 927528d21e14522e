"""Words for tests of enrolments: tokens, joins, and what a joined pool says of itself."""

from typing import Any

import httpx

from support.certificates import SELF_SIGNED
from support.orchestrator import VERSION, Orchestrator

__all__ = [
    "HOST_KEY",
    "NOWHERE",
    "SSH_TOKEN",
    "bearer",
    "enrol",
    "issue_token",
    "join",
    "join_body",
    "names_of_pools",
    "refusal_of",
    "register_as",
    "show_token",
]

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJsZXAtYmxlcC1ibGVwLWJsZXAtYmxlcC1ibGVwLWI="


# Nothing listens there, and nothing outside this machine is ever asked.
NOWHERE = "ssh://me@127.0.0.1:1"
SSH_TOKEN = "one-time-token-of-mac"


def refusal_of(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, whose message is one line."""
    error = reply.json()["error"]
    assert "\n" not in error["message"]
    return reply.status_code, error["code"]


async def enrol(site: Orchestrator, pool_id: str = "mac", **changes: object) -> httpx.Response:
    """Enrol a host behind SSH as an administrator."""
    body = {"endpoint": NOWHERE, "host_keys": [HOST_KEY], "token": SSH_TOKEN, **changes}
    return await site.client.post("/v2/pools", json={"pool_id": pool_id, **body})


async def names_of_pools(site: Orchestrator) -> list[str]:
    """All pools that are listed."""
    listed = (await site.client.get("/v2/pools")).json()["items"]
    return [pool["pool_id"] for pool in listed]


def bearer(key: str) -> dict[str, str]:
    """The field that carries a key."""
    return {"authorization": f"Bearer {key}"}


async def issue_token(site: Orchestrator, pool_id: str = "mac", **more: object) -> str:
    """Make a one-time token as an administrator."""
    body = {"pool_id": pool_id, **more}
    reply = await site.client.post("/v2/pools/join-tokens", json=body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["token"])


def join_body(token: str, pool_id: str = "mac", **changes: object) -> dict[str, Any]:
    """What a host sends to join."""
    return {
        "token": token,
        "pool_id": pool_id,
        "endpoint": "https://10.0.0.7:9200",
        "version": VERSION,
        "certificate": SELF_SIGNED,
        **changes,
    }


async def show_token(site: Orchestrator, body: dict[str, Any]) -> httpx.Response:
    """Join as a stranger does: without any key."""
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as stranger:
        return await stranger.post("/v2/pools/join", json=body)


async def join(site: Orchestrator, pool_id: str = "mac", **changes: object) -> str:
    """Join a host; returns the key of its pool."""
    body = join_body(await issue_token(site, pool_id), pool_id, **changes)
    reply = await show_token(site, body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["key"])


async def register_as(
    site: Orchestrator, pool_id: str, key: str, **changes: object
) -> httpx.Response:
    """Open a session as this pool."""
    session = {"pool_id": pool_id, "session_id": site.ids.session()}
    place = {"endpoint": "https://10.0.0.7:9200", **session, **changes}
    return await site.as_pool("/v2/pools/register", site.registration(**place), key)
