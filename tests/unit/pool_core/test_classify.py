import pytest

from orchestrator_core.errors import Code
from pool_core.workers.classify import Failure, classify

ENGINE = {
    "missing": (
        "0.00.005.784 E gguf_init_from_file: failed to open GGUF file '/m/x.gguf' (No such file)\n"
        "0.00.005.879 E llama_model_load: error loading model: failed to load model from /m/x.gguf",
        Code.MODEL_INCOMPATIBLE,
        "llama_model_load: error loading model",
    ),
    "magic": (
        "0.00.006.096 E gguf_init_from_reader: invalid magic characters: 'XXXX', expected 'GGUF'",
        Code.MODEL_INCOMPATIBLE,
        "gguf_init_from_reader: invalid magic characters: 'XXXX', expected 'GGUF'",
    ),
    "truncated": (
        "0.00.029.555 E llama_model_load: error loading model: tensor 'blk.0.ffn_gate.weight' data "
        "is not within the file bounds, model is corrupted or incomplete",
        Code.MODEL_INCOMPATIBLE,
        "not within the file bounds",
    ),
    "architecture": (
        "0.00.005.055 E llama_model_load: error loading model: unknown model architecture: 'zzz9'\n"
        "0.00.005.684 E srv  llama_server: exiting due to model loading error",
        Code.MODEL_INCOMPATIBLE,
        "unknown model architecture: 'zzz9'",
    ),
    "memory": (
        "0.00.230.751 E ggml_aligned_malloc: insufficient memory (attempted 1953.12 MB)\n"
        "0.00.254.399 E llama_init_from_model: failed to allocate buffer for kv cache\n"
        "0.00.254.428 E cmn  common_init_: failed to create context with model '/m/tiny.gguf'",
        Code.WORKER_START_FAILED,
        "ggml_aligned_malloc: insufficient memory (attempted 1953.12 MB)",
    ),
    "port": (
        "0.00.013.290 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, "
        "port: 18932",
        Code.PORT_IN_USE,
        "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18932",
    ),
    "library": (
        "./llama-server: error while loading shared libraries: libllama.so.0: cannot open",
        Code.WORKER_START_FAILED,
        "libllama.so.0",
    ),
    "libgomp": (
        "llorch-worker: error: the engine needs libgomp.so.1: apt install libgomp1 (dnf ...)",
        Code.WORKER_START_FAILED,
        "the engine needs libgomp.so.1: apt install libgomp1",
    ),
    "our own check": (
        "llorch-worker: error: --model /m/x.gguf: it is not a GGUF file",
        Code.MODEL_INCOMPATIBLE,
        "--model /m/x.gguf: it is not a GGUF file",
    ),
    "our own refusal": (
        "llorch-worker: error: --threads 99: must be 1 to 4",
        Code.WORKER_START_FAILED,
        "--threads 99: must be 1 to 4",
    ),
}


@pytest.mark.parametrize("case", ENGINE)
def test_reads_the_cause_from_the_last_words(case: str) -> None:
    text, code, reason = ENGINE[case]
    failure = classify(text.splitlines(), 1, was_ready=False)
    assert failure.code is code
    assert reason in failure.message
    assert not failure.message.startswith("0.00")


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (-9, "the worker was ended by a kill"),
        (-4, "the worker was ended by an illegal instruction"),
        (-40, "the worker was ended by signal 40"),
        (3, "the worker ended with exit code 3"),
        (None, "the worker ended"),
    ],
)
def test_without_words_the_end_itself_is_the_reason(exit_code: int | None, message: str) -> None:
    assert classify([], exit_code, was_ready=False) == Failure(Code.WORKER_START_FAILED, message)
    assert classify([], exit_code, was_ready=True) == Failure(Code.WORKER_LOST, message)


def test_a_crash_after_ready_quotes_the_last_line_but_not_our_announcements() -> None:
    lines = ['{"event": "listening"}', "GGML_ASSERT(x > 0) failed", ""]
    assert classify(lines, -6, was_ready=True) == Failure(
        Code.WORKER_LOST, "the worker was ended by an abort: GGML_ASSERT(x > 0) failed"
    )


def test_old_loading_errors_do_not_explain_a_later_crash() -> None:
    lines = ["0.00.005.055 E llama_model_load: error loading model: x"]
    assert classify(lines, -11, was_ready=True).code is Code.WORKER_LOST
