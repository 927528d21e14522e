"""The samples are what an engine of build 11549 really printed when it could not start."""

import re
from pathlib import Path
from time import perf_counter

import pytest

from orchestrator_core.errors import Code
from pool_core.workers.classify import Failure, classify

ENGINE = "b11549"
SAMPLES = Path(__file__).parents[2] / "support" / "stderr_samples.txt"

EXPECTED = {
    "nope": (Code.MODEL_NOT_PULLED, "the model's file is not there: /models/nope.gguf"),
    "badmagic": (Code.MODEL_INCOMPATIBLE, "not a GGUF file: it begins with 'XXXX'"),
    "trunc": (Code.MODEL_INCOMPATIBLE, "it ends before tensor blk.0.ffn_gate.weight"),
    "unknown_arch": (
        Code.MODEL_INCOMPATIBLE,
        "unknown model architecture zzz9; engine b11549",
    ),
    "empty": (Code.MODEL_INCOMPATIBLE, "the model's file is empty"),
    "html": (Code.MODEL_INCOMPATIBLE, "not a GGUF file: it begins with '<!DO'"),
    "badver": (Code.MODEL_INCOMPATIBLE, "GGUF version 99; the engine reads up to 3"),
    "removed_flag": (
        Code.WORKER_START_FAILED,
        "the engine does not know the option --no-mmap; engine b11549",
    ),
    "removed_flag2": (
        Code.WORKER_START_FAILED,
        "the engine does not know the option --draft-max any more; engine b11549",
    ),
    "bad_device": (Code.BACKEND_UNAVAILABLE, "the engine sees no device CUDA0"),
    "port_in_use": (Code.PORT_IN_USE, "couldn't bind HTTP server socket"),
    "kv_oom": (
        Code.WORKER_START_FAILED,
        "the host has not enough free memory: ggml_aligned_malloc: insufficient memory (attempted "
        "to allocate 1953.12 MB)",
    ),
    "missing_lib": (Code.WORKER_START_FAILED, "shared library libllama.so.0, which is missing"),
    "version": (Code.WORKER_START_FAILED, "the worker ended with exit code 0"),
}


def samples() -> dict[str, tuple[list[str], int]]:
    found: dict[str, tuple[list[str], int]] = {}
    pattern = r"^### case=(\w+)\n(.*?)^### rc=(\d+)$"
    for name, text, code in re.findall(
        pattern, SAMPLES.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        found[name] = (text.splitlines(), int(code))
    return found


def test_every_sample_has_its_expectation() -> None:
    assert set(samples()) == set(EXPECTED)


@pytest.mark.parametrize("case", EXPECTED)
def test_names_the_cause_of_a_real_failure(case: str) -> None:
    lines, exit_code = samples()[case]
    failure = classify(lines, exit_code, was_ready=False, engine=ENGINE)
    code, part = EXPECTED[case]
    assert failure.code is code
    assert part in failure.message
    assert not failure.message.startswith("0.00")


def test_an_engine_of_unknown_build_is_not_named() -> None:
    lines, exit_code = samples()["unknown_arch"]
    failure = classify(lines, exit_code, was_ready=False)
    assert failure == Failure(Code.MODEL_INCOMPATIBLE, "unknown model architecture zzz9")


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: "
            "cudaMalloc failed: out of memory",
            Code.WORKER_START_FAILED,
            "the GPU has not enough free memory: ",
        ),
        (
            "0.01 E alloc_tensor_range: failed to allocate CUDA0 buffer of size 4294967296",
            Code.WORKER_START_FAILED,
            "the GPU has not enough free memory: ",
        ),
        (
            "0.01 E llama_model_load: error loading model: unable to allocate Vulkan0 buffer",
            Code.WORKER_START_FAILED,
            "the GPU has not enough free memory: ",
        ),
        (
            "ggml_metal_buffer_init: error: failed to allocate buffer, size =  4096.00 MiB",
            Code.WORKER_START_FAILED,
            "the GPU has not enough free memory: ",
        ),
        (
            "ggml_vulkan: Device memory allocation failed: vk::Device: ErrorOutOfDeviceMemory",
            Code.WORKER_START_FAILED,
            "the GPU has not enough free memory: ",
        ),
        (
            "graph_reserve: failed to allocate compute pp buffers",
            Code.WORKER_START_FAILED,
            "not enough memory: ",
        ),
        (
            "terminate called after throwing an instance of 'std::bad_alloc'",
            Code.WORKER_START_FAILED,
            "the host has not enough free memory: ",
        ),
        (
            "llorch-worker: error: --ctx-size 9: its cache needs 4 GiB, but only 1 GiB of memory "
            "are available",
            Code.WORKER_START_FAILED,
            "--ctx-size 9: its cache needs 4 GiB",
        ),
        (
            "llama-server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found "
            "(required by llama-server)",
            Code.WORKER_START_FAILED,
            "the engine is built for a newer system: it needs GLIBC_2.38",
        ),
        (
            "dyld[4711]: Library not loaded: @rpath/libllama.0.dylib",
            Code.WORKER_START_FAILED,
            "the engine needs @rpath/libllama.0.dylib",
        ),
        (
            "llorch-worker: error: the engine needs libgomp.so.1: apt install libgomp1 (dnf ...)",
            Code.WORKER_START_FAILED,
            "the engine needs libgomp.so.1: apt install libgomp1",
        ),
        (
            "llorch-worker: error: this CPU has no AVX2; the embedded engine needs AVX2",
            Code.BACKEND_UNAVAILABLE,
            "this CPU has no AVX2",
        ),
        (
            "0.01 E llama_model_load: error loading model: make_cpu_buft_list: no CPU backend found",
            Code.BACKEND_UNAVAILABLE,
            "the engine finds no CPU backend",
        ),
        (
            "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient",
            Code.BACKEND_UNAVAILABLE,
            "ggml_cuda_init: failed to initialize CUDA",
        ),
        (
            "CUDA error: no kernel image is available for execution on the device",
            Code.BACKEND_UNAVAILABLE,
            "the engine is not built for this GPU",
        ),
        (
            "llorch-worker: error: unrecognized arguments: --flash-attn on",
            Code.WORKER_START_FAILED,
            "the engine does not know the option --flash-attn; engine b11549",
        ),
        (
            'error while handling argument "--ctx-size": stoi',
            Code.WORKER_START_FAILED,
            "the engine does not accept the value of --ctx-size: stoi",
        ),
        (
            "0.01 E llama_model_load: error loading model: unknown pre-tokenizer type: 'new-bpe'",
            Code.MODEL_INCOMPATIBLE,
            "unknown pre-tokenizer new-bpe; engine b11549",
        ),
        (
            "0.01 E llama_model_load: error loading model: wrong number of tensors; expected 291, "
            "got 290",
            Code.MODEL_INCOMPATIBLE,
            "the model's tensors are not what its header promises: ",
        ),
        (
            "0.01 E llama_model_load: error loading model: invalid split count, given: 3 splits, "
            "but should be 4",
            Code.MODEL_INCOMPATIBLE,
            "the parts of the split model do not belong together: ",
        ),
        (
            "0.01 E llama_model_load: error loading model: missing key split.no in GGUF context",
            Code.MODEL_INCOMPATIBLE,
            "the parts of the split model do not belong together: ",
        ),
        (
            "0.01 E gguf_init_from_file: failed to open GGUF file '/m/x.gguf' (Permission denied)",
            Code.WORKER_START_FAILED,
            "the model's file /m/x.gguf cannot be opened: Permission denied",
        ),
        (
            "llorch-worker: error: --model /m/x.gguf: No such file or directory",
            Code.MODEL_NOT_PULLED,
            "--model /m/x.gguf: No such file or directory",
        ),
        (
            "llorch-worker: error: --model /m/x.gguf: it is not a GGUF file",
            Code.MODEL_INCOMPATIBLE,
            "--model /m/x.gguf: it is not a GGUF file",
        ),
        (
            "llorch-worker: error: --model: the header claims 9999 layers: the file is damaged",
            Code.MODEL_INCOMPATIBLE,
            "--model: the header claims 9999 layers",
        ),
        (
            "llorch-worker: error: --threads 99: must be 1 to 4",
            Code.WORKER_START_FAILED,
            "--threads 99: must be 1 to 4",
        ),
    ],
)
def test_names_causes_that_are_known_from_an_engines_source(
    line: str, code: Code, part: str
) -> None:
    failure = classify([line], 1, was_ready=False, engine=ENGINE)
    assert failure.code is code
    assert failure.message.startswith(part)
    assert not failure.message.startswith("llorch-worker: error")


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (-9, "the worker was killed: the host may have run out of memory"),
        (137, "the worker was killed: the host may have run out of memory"),
        (-4, "the worker was ended by an illegal instruction: the engine is built for another CPU"),
        (
            132,
            "the worker was ended by an illegal instruction: the engine is built for another CPU",
        ),
        (-6, "the worker was ended by an abort"),
        (134, "the worker was ended by an abort"),
        (-11, "the worker was ended by a memory fault"),
        (-15, "the worker was ended by TERM"),
        (143, "the worker was ended by TERM"),
        (-40, "the worker was ended by signal 40"),
        (
            126,
            "the worker ended with exit code 126: the engine's program may not be executed here: "
            "no permission, or a noexec mount",
        ),
        (
            127,
            "the worker ended with exit code 127: the engine's program or a shared library that it "
            "needs is missing",
        ),
        (3, "the worker ended with exit code 3"),
        (200, "the worker ended with exit code 200"),
        (0, "the worker ended with exit code 0"),
        (None, "the worker ended"),
    ],
)
def test_without_words_the_end_itself_is_the_reason(exit_code: int | None, message: str) -> None:
    assert classify([], exit_code, was_ready=False) == Failure(Code.WORKER_START_FAILED, message)
    assert classify([], exit_code, was_ready=True) == Failure(Code.WORKER_LOST, message)


def test_a_crash_after_ready_quotes_the_words_of_the_crash() -> None:
    lines = ['{"event": "listening"}', "GGML_ASSERT(x > 0) failed", "libggml.so(+0x1234)", ""]
    assert classify(lines, -6, was_ready=True) == Failure(
        Code.WORKER_LOST,
        "the worker was ended by an abort; its last words: GGML_ASSERT(x > 0) failed",
    )


def test_otherwise_the_last_line_is_quoted_but_not_our_announcements() -> None:
    lines = ["0.01 E srv  send_error: no", '{"event": "draining"}', ""]
    assert classify(lines, 1, was_ready=True) == Failure(
        Code.WORKER_LOST, "the worker ended with exit code 1; its last words: send_error: no"
    )


def test_old_loading_errors_do_not_explain_a_later_crash() -> None:
    lines = ["0.00.005.055 E llama_model_load: error loading model: x"]
    assert classify(lines, -11, was_ready=True).code is Code.WORKER_LOST


def test_what_a_model_says_of_itself_is_no_cause() -> None:
    lines = ["0.00.005.055 I llama_model_loader: - kv   3: general.name str = out of memory"]
    failure = classify(lines, 1, was_ready=False)
    assert failure.message.startswith("the worker ended with exit code 1")


def test_a_name_cannot_paint_the_terminal_of_whoever_reads_it() -> None:
    line = "E error loading model: unknown model architecture: 'a\x1b[31mb\x1b]0;c\x07\u202ed'"
    failure = classify([line], 1, was_ready=False)
    assert failure.message == "unknown model architecture ab ]0;c  d"


@pytest.mark.parametrize(
    "lines",
    [
        ["A" * 20_000_000],
        ["x" * 999] * 20_000,
        ["version " + "`GLIBC" * 200] * 5_000,
        ["dyld" * 250] * 5_000,
        ["\x1b[" + "1;" * 500] * 5_000,
        ["{engine}{line}" * 70] * 5_000,
        ["error while handling argument " + '"' * 900] * 5_000,
    ],
    ids=["one long line", "many lines", "glibc", "dyld", "escapes", "formats", "quotes"],
)
def test_a_hostile_log_costs_little(lines: list[str]) -> None:
    began_s = perf_counter()
    failure = classify(lines, 1, was_ready=False)
    assert perf_counter() - began_s < 5
    assert len(failure.message) < 500


def test_the_last_lines_are_the_ones_that_count() -> None:
    old = "0.01 E llama_model_load: error loading model: unknown model architecture: 'old'"
    lines = [old, *["y" * 999] * 100, "error: invalid argument: --new"]
    assert "--new" in classify(lines, 1, was_ready=False).message
    assert "old" not in classify([old, *["y" * 999] * 100], 1, was_ready=False).message
