"""What the gate asks of a worker against the real engine: its counts, and where the border lies."""

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator_core.ids import PoolId, WorkerId
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.admission.contexts import tokens_at_least, tokens_at_most
from orchestratord.serving.admission.token_counts import TokenCounts
from support.orchestrator import ready_worker
from support.worker_process import KEY, RunningWorker, run_worker

CTX = 1024


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWorker]:
    folder = tmp_path_factory.mktemp("worker")
    with run_worker(folder, "--ctx-size", str(CTX)) as running:
        yield running


async def count(worker: RunningWorker, words: dict[str, Any], key: str = KEY) -> int | None:
    port = int(worker.url.rpartition(":")[2])
    report = ready_worker(port)
    report = report.model_copy(update={"key": type(report.key)(key)})  # type: ignore[misc,call-arg]
    book, pool_id = WorkerBook(), PoolId("home")
    book.replace(pool_id, [report])
    return await TokenCounts(book).count([(pool_id, WorkerId(report.id))], words)


def used(worker: RunningWorker, target: str, **fields: object) -> tuple[int, int]:
    """The status of the engine's own answer, and the tokens that it found in the prompt."""
    reply = worker.client.post(target, json={"max_tokens": 1, **fields})
    told = reply.json()
    return reply.status_code, told.get("usage", {}).get("prompt_tokens", 0)


@pytest.mark.parametrize("text", ["Hello", "", "é€😀" * 20, "a  b\n\n\tc" * 30, "<|im_end|>" * 9])
async def test_the_count_is_what_the_engine_uses(worker: RunningWorker, text: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    found = await count(worker, {"messages": messages})
    assert (200, found) == used(worker, "/v1/chat/completions", messages=messages)
    prompt = [{"role": "user", "content": text or "x"}]
    found = await count(worker, {"prompt": text or "x"})
    assert (200, found) == used(worker, "/v1/chat/completions", messages=prompt)
    found = await count(worker, {"prompt": text or "x", "raw": True})
    assert (200, found) == used(worker, "/v1/completions", prompt=text or "x")


async def test_the_bounds_hold_for_a_real_tokenizer(worker: RunningWorker) -> None:
    for text in ("Hello", "é€😀" * 90, " " * 900, "word " * 400, "=" * 3000, "a" * 5000):
        words = {"messages": [{"role": "user", "content": text}]}
        found = await count(worker, words)
        assert found is not None
        assert tokens_at_least(words, 10**9) <= found <= (tokens_at_most(words) or 0)


async def test_the_engine_takes_what_is_one_token_below_its_context(worker: RunningWorker) -> None:
    async def tokens(length: int) -> int:
        return await count(worker, {"prompt": "é" * length, "raw": True}) or 0

    length = 1
    while await tokens(length + 1) < CTX:
        length += (CTX - await tokens(length)) // 3 or 1
    while await tokens(length) >= CTX:
        length -= 1
    below, above = await tokens(length), await tokens(length + 1)
    assert below < CTX <= above
    assert used(worker, "/v1/completions", prompt="é" * length)[0] == 200
    assert used(worker, "/v1/completions", prompt="é" * (length + 1))[0] == 400


async def test_a_worker_that_does_not_know_us_counts_nothing(worker: RunningWorker) -> None:
    assert await count(worker, {"prompt": "x"}, key="another-key") is None
