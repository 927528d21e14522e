"""The worker's promise to whoever starts it: exact answers, a key, clear refusals, a clean end."""

import json
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.answers import chat_answers, raw_answers
from support.waiting import until_sync
from support.worker_process import (
    KEY,
    MODELS,
    RunningWorker,
    deltas,
    run_worker,
    try_worker,
    write_key,
)

pytestmark = pytest.mark.e2e

TINY = str(MODELS / "tiny-chat.gguf")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWorker]:
    with run_worker(tmp_path_factory.mktemp("worker"), "--ctx-size", "1024") as running:
        yield running


def test_the_cpu_is_no_stand_in_for_a_gpu(tmp_path: Path) -> None:
    keys = ("--api-key-file", str(write_key(tmp_path)))
    done = try_worker(
        "--model", TINY, "--alias", "a", "--ctx-size", "64", "--n-gpu-layers", "999", *keys
    )
    assert done.returncode == 1
    assert "the engine sees no GPU" in done.stderr


@pytest.mark.parametrize("model", ["tiny-chat", "tiny-story"])
def test_every_documented_answer_is_exact(model: str, tmp_path: Path) -> None:
    with run_worker(tmp_path, "--ctx-size=1024", model=model) as running:
        answers = chat_answers(model)
        assert {prompt: running.chat(prompt) for prompt in answers} == answers
        for prompt, text in raw_answers(model).items():
            body = {"prompt": prompt, "temperature": 0, "max_tokens": 400}
            answer = running.client.post("/v1/completions", json=body)
            assert answer.json()["choices"][0]["text"] == text


def test_says_where_it_listens_and_which_engine_it_holds(worker: RunningWorker) -> None:
    assert worker.announced["event"] == "listening"
    assert worker.announced["version"]
    assert worker.url.startswith("http://127.0.0.1:")


def test_reports_its_alias_as_the_model(worker: RunningWorker) -> None:
    models = worker.client.get("/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["tiny-chat"]


def test_health_is_open_and_everything_else_needs_the_key(worker: RunningWorker) -> None:
    def status(path: str, key: str | None) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(worker.url + path, headers=headers, trust_env=False).status_code

    assert status("/health", None) == 200
    assert status("/v1/models", None) == 401
    assert status("/v1/models", "another-key-of-the-same-kind") == 401
    assert status("/v1/models", KEY) == 200


def test_metrics_count_the_requests_in_progress(worker: RunningWorker) -> None:
    assert "llamacpp:requests_processing 0" in worker.client.get("/metrics").text


def test_slots_share_the_total_context(tmp_path: Path) -> None:
    with run_worker(tmp_path, "--ctx-size", "1024", "--parallel", "2") as running:
        props = running.client.get("/props").json()
        assert props["total_slots"] == 2
        assert props["default_generation_settings"]["n_ctx"] == 512


def test_makes_embeddings_when_asked_to(tmp_path: Path) -> None:
    flags = ("--ctx-size", "1024", "--embeddings", "--pooling", "mean")
    with run_worker(tmp_path, *flags, "--batch-size", "1024", "--ubatch-size", "1024") as running:
        long = "What is a worker? " * 80
        answer = running.client.post("/v1/embeddings", json={"input": ["Hello", long]}).json()
        assert [len(item["embedding"]) for item in answer["data"]] == [128, 128]


def test_an_idle_worker_leaves_at_the_first_term(tmp_path: Path) -> None:
    with run_worker(tmp_path, "--ctx-size", "1024") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert running.process.stdout is not None
        last = running.process.stdout.read().splitlines()[-1]
        assert json.loads(last) == {"event": "stopped", "exit_code": 0}


def _long_stream(running: RunningWorker) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": "Count to one hundred"}],
        "temperature": 0,
        "max_tokens": 900,
        "stream": True,
    }


def test_a_term_lets_the_running_answer_end(tmp_path: Path) -> None:
    with run_worker(tmp_path, "--ctx-size", "1024") as running:
        body = _long_stream(running)
        with running.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            first = next(deltas(lines))
            # Frozen, it cannot have ended the answer before the order to leave reaches it.
            frozen = psutil.Process(running.process.pid)
            frozen.suspend()
            running.process.send_signal(signal.SIGTERM)
            frozen.resume()
            text = first + "".join(deltas(lines))
        assert text == chat_answers("tiny-chat")["Count to one hundred"]
        assert running.process.wait(20) == 0


def test_a_second_term_does_not_wait_for_the_answer(tmp_path: Path) -> None:
    with run_worker(tmp_path, "--ctx-size", "1024") as running:
        body = _long_stream(running) | {"ignore_eos": True}
        with running.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
            running.process.send_signal(signal.SIGTERM)
            assert running.process.stdout is not None
            assert json.loads(running.process.stdout.readline()) == {"event": "draining"}
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(20) == 1


def test_a_closed_connection_frees_the_slot(worker: RunningWorker) -> None:
    body = _long_stream(worker) | {"ignore_eos": True, "return_progress": True}
    with worker.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    until_sync(
        lambda: "llamacpp:requests_processing 0" in worker.client.get("/metrics").text,
        what="an idle slot",
    )


REFUSED = {
    "threads-0": (["--threads", "0"], "--threads 0: must be 1 to"),
    "threads-5000": (["--threads", "5000"], "--threads 5000: must be 1 to"),
    "parallel-0": (["--parallel", "0"], "--parallel 0: must be 1 to 256"),
    "parallel-300": (["--parallel=300"], "--parallel 300: must be 1 to 256"),
    "batch-0": (["--batch-size", "0"], "--batch-size 0: must be 32 or more"),
    "ctx-0": (["--ctx-size", "0"], "--ctx-size 0: must be above 0"),
    "ctx-negative": (["--ctx-size=-5"], "--ctx-size -5: must be above 0"),
    "ctx-huge": (["--ctx-size", "100000000"], "the model was trained for 1024"),
    "port": (["--port", "99999"], "--port 99999: must be 0 to 65535"),
    "host": (["--host", "0.0.0.0"], "a worker listens on a loopback address only"),
    "alias": (["--alias", "two words"], "--alias: must be"),
    "pooling": (["--pooling", "mean"], "only together with --embeddings"),
    "missing": (["--model", "/nope.gguf"], "/nope.gguf: No such file or directory"),
    "folder": (["--model", "/"], "--model /: not a regular file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_would_abort_or_hang_the_engine(case: str, tmp_path: Path) -> None:
    extra, reason = REFUSED[case]
    usual = ["--model", TINY, "--ctx-size", "1024", "--alias", "tiny-chat"]
    done = try_worker(*usual, "--api-key-file", str(write_key(tmp_path)), *extra)
    assert done.returncode == 1
    assert done.stderr.startswith("llorch-worker: error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("", 0o600, "it holds no key"),
        ("short", 0o600, "16 or more printable characters"),
        ("a key with spaces in it", 0o600, "without spaces"),
        (KEY, 0o644, "others may read it"),
    ],
)
def test_refuses_a_key_file_that_protects_nothing(
    text: str, mode: int, reason: str, tmp_path: Path
) -> None:
    key = write_key(tmp_path, text, mode)
    args = ["--model", TINY, "--ctx-size", "1024", "--alias", "x", "--api-key-file", str(key)]
    done = try_worker(*args)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert reason in done.stderr


def _damaged(case: str) -> bytes:
    whole = Path(TINY).read_bytes()
    match case:
        case "empty":
            return b""
        case "text":
            return b"<!DOCTYPE html><html></html>"
        case "version":
            return whole[:4] + struct.pack("<I", 99) + whole[8:]
        case "short-header":
            return whole[:200]
        case "short-tensors":
            return whole[:400_000]
        case "architecture":
            return whole.replace(b"llama", b"zzz99")
        case _:
            marker = b"llama.block_count" + struct.pack("<I", 4)
            at = whole.index(marker) + len(marker)
            return whole[:at] + struct.pack("<I", 2**31) + whole[at + 4 :]


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "the file is empty"),
        ("text", "it is a web page, not a model"),
        ("version", "GGUF version 99 is not supported"),
        ("short-header", "it is incomplete: it ends inside its header"),
        ("short-tensors", "the file is incomplete"),
        ("architecture", "unknown model architecture: 'zzz99'"),
        ("blocks", "the header claims 2147483648 as llama.block_count"),
    ],
)
def test_names_what_is_wrong_with_a_model_file(case: str, reason: str, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(_damaged(case))
    key = str(write_key(tmp_path))
    args = ["--model", str(model), "--ctx-size", "1024", "--alias", "x", "--api-key-file", key]
    done = try_worker(*args)
    assert done.returncode == 1
    assert reason in done.stderr
    # The engine logs from a thread of its own, so which line comes last is not ours to say.
    assert done.stderr.count("llorch-worker: error: ") == 1


def test_a_taken_port_is_a_failed_start(worker: RunningWorker, tmp_path: Path) -> None:
    port = worker.url.rpartition(":")[2]
    args = ["--model", TINY, "--ctx-size", "1024", "--alias", "x", "--port", port]
    done = try_worker(*args, "--api-key-file", str(write_key(tmp_path)))
    assert done.returncode == 1
    assert "couldn't bind HTTP server socket" in done.stderr


@pytest.mark.parametrize("args", [["--ctx-size", "many"], ["--no-such-flag"], []])
def test_bad_usage_ends_with_code_2(args: list[str]) -> None:
    assert try_worker(*args).returncode == 2


def test_help_and_version_do_not_load_the_engine() -> None:
    assert "--api-key-file" in try_worker("--help").stdout
    version = try_worker("--version").stdout
    assert version.startswith("llorch-worker ")
    assert "xllamacpp" in version
