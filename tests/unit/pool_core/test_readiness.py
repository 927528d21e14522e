from collections.abc import Callable

import httpx
import pytest

from orchestrator_core.contracts.tasks import TaskKind
from pool_core.workers.readiness import Readiness, Stage, Target, check

Handler = Callable[[httpx.Request], httpx.Response]


def sound(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/health":
        return httpx.Response(200, json={"status": "ok"})
    if request.headers.get("Authorization") != "Bearer right":
        return httpx.Response(401)
    answers = {
        "/v1/models": {"data": []},
        "/v1/completions": {"choices": [{"text": "!"}]},
        "/v1/embeddings": {"data": [{"embedding": [0.5]}]},
        "/v1/rerank": {"results": [{"index": 0, "relevance_score": 0.5}]},
    }
    return httpx.Response(200, json=answers[request.url.path])


def but(path: str, response: httpx.Response) -> Handler:
    return lambda request: response if request.url.path == path else sound(request)


async def ask(
    handler: Handler,
    *,
    key: str = "right",
    task: TaskKind = TaskKind.GENERATE,
    ours: bool = True,
    was_ready: bool = False,
) -> Readiness:
    target = Target("http://127.0.0.1:8001", key, "tiny-chat", task, lambda: ours, was_ready)
    return await check(target, transport=httpx.MockTransport(handler))


@pytest.mark.parametrize("task", TaskKind)
async def test_ready_means_one_real_answer(task: TaskKind) -> None:
    assert await ask(sound, task=task) == Readiness(Stage.READY)


async def test_loading_is_no_failure() -> None:
    loading = but("/health", httpx.Response(503, json={"error": "Loading model"}))
    assert (await ask(loading)).stage is Stage.LOADING


async def test_a_refused_connection_may_still_become_a_worker() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert (await ask(refuse)).stage is Stage.SILENT


async def test_another_process_on_the_port_is_not_our_worker() -> None:
    assert (await ask(sound, ours=False)).stage is Stage.SILENT


async def test_a_worker_without_a_lock_is_a_stranger() -> None:
    result = await ask(but("/v1/models", httpx.Response(200, json={"data": []})))
    assert result == Readiness(Stage.STRANGER, "answers 200 to a caller without a key")


async def test_a_worker_that_does_not_know_our_key_is_a_stranger() -> None:
    result = await ask(sound, key="wrong")
    assert result == Readiness(Stage.STRANGER, "answers 401 to our own key")


@pytest.mark.parametrize("status", [500, 503])
async def test_a_worker_in_trouble_is_no_stranger(status: int) -> None:
    result = await ask(but("/v1/models", httpx.Response(status)))
    assert result == Readiness(Stage.SILENT, f"answers {status} for now")


async def test_a_worker_that_was_ready_is_not_asked_for_an_answer() -> None:
    busy = but("/v1/completions", httpx.Response(500))
    assert await ask(busy, was_ready=True) == Readiness(Stage.READY)
    assert (await ask(sound, key="wrong", was_ready=True)).stage is Stage.STRANGER


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="<html>"),
    ],
)
async def test_a_worker_that_does_not_compute_is_wrong(response: httpx.Response) -> None:
    assert (await ask(but("/v1/completions", response))).stage is Stage.WRONG


async def test_a_strange_health_is_wrong() -> None:
    result = await ask(but("/health", httpx.Response(404)))
    assert result == Readiness(Stage.WRONG, "health answers 404")
