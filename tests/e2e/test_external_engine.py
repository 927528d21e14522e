"""A server that somebody else runs, named in pool.toml, behind the real daemons."""

from collections.abc import Iterator

import openai
import pytest

from support.events import api, events_of, submit, text_of
from support.home import Home
from support.openai_server import OpenAiServer
from support.pool_commands import workers
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

NAME = "worker-openai-vllm"


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    """A server with a key, as somebody runs it."""
    with OpenAiServer(models=("org/big",), key="their-key", spaced_json=True) as server:
        yield server


@pytest.fixture
def configured(empty_home: Home, server: OpenAiServer) -> Home:
    """An installation whose pool.toml names the server, and of which nothing runs."""
    config = empty_home.folder / "config"
    config.mkdir()
    key_file = config / "vllm.key"
    key_file.touch(0o600)
    key_file.write_text("their-key\n")
    (config / "pool.toml").write_text(
        f'[[external]]\nname = "vllm"\nurl = "{server.url}"\nkey_file = "{key_file}"\n'
        'models = {big = "org/big"}\nmax_concurrency = 2\n'
    )
    return empty_home


@pytest.fixture
def site(configured: Home) -> Home:
    """The same when everything runs."""
    return configured.start()


def status_of(site: Home) -> str | None:
    """What the orchestrator says about the server's worker."""
    with api(site) as client:
        items = client.get("/v2/workers").json()["items"]
    return next((it["status"] for it in items if it["name"] == NAME), None)


def until_is(site: Home, status: str) -> None:
    until_sync(lambda: status_of(site) == status, timeout_s=45, what=f"{NAME} {status}")


def test_its_model_answers_chats_and_jobs_under_our_name(site: Home, server: OpenAiServer) -> None:
    until_is(site, "ready")
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=site.key, max_retries=0) as client:
        assert "big" in [model.id for model in client.models.list()]
        chunks = list(
            client.chat.completions.create(
                model="big", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
        )
    assert {chunk.model for chunk in chunks} == {"big"}
    assert "".join(it.choices[0].delta.content or "" for it in chunks) == "Hello you"
    with api(site) as client:
        job = submit(client, "Hi", "big")
        events = list(events_of(client, job))
        shown = client.get(f"/v2/tasks/{job}").json()
    assert (text_of(events), events[-1].kind) == ("Hello you", "end")
    assert (shown["status"], shown["attempts"][0]["worker_name"]) == ("completed", NAME)
    assert {chat.body["model"] for chat in server.chats} == {"org/big"}
    assert "their-key" not in site.log("pool-managerd") + site.log("orchestratord")


def test_it_is_failed_while_it_is_down_and_serves_again_when_it_is_back(
    site: Home, server: OpenAiServer
) -> None:
    until_is(site, "ready")
    stopped = site.pool("worker", "stop", NAME)
    assert stopped.code == 1
    assert "run by somebody else" in stopped.err
    server.close()
    until_is(site, "failed")
    with api(site) as client:
        job = submit(client, "Hi", "big")
        why = client.get(f"/v2/tasks/{job}").json()["why"]
        assert any("cannot be reached" in line for line in why)
        server.open()
        assert text_of(list(events_of(client, job))) == "Hello you"
    assert status_of(site) in ("ready", "busy")


def test_a_command_without_a_daemon_knows_it_too(configured: Home) -> None:
    (worker,) = workers(configured)
    assert (worker["name"], worker["status"], worker["model"]) == (NAME, "ready", "big")
    assert (worker["pid"], worker["slots_total"]) == (None, 2)
    refused = configured.pool("worker", "stop", NAME).must(1)
    assert "is run by somebody else: take it out of pool.toml" in refused.err
    configured.pool("daemon", "start").must()
    until_sync(
        lambda: [it["status"] for it in workers(configured)] == ["ready"],
        timeout_s=30,
        what="the daemon's look",
    )
    (same,) = workers(configured)
    assert (same["id"], same["name"]) == (worker["id"], worker["name"])
    refused = configured.pool("worker", "stop", NAME).must(1)
    assert "is run by somebody else: take it out of pool.toml" in refused.err
    configured.pool("daemon", "stop").must()
