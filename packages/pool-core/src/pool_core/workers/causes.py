"""Which words of an engine name which cause: one table, the most specific first.

The order is that of causes, not of lines: a refused allocation also prints "failed to load model",
and a broken file is reported twice. classify searches a worker's log with it.
"""

import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code

__all__ = ["CAUSES", "CRASH", "OWN", "Cause"]

OWN: Final = "llorch-worker: error: "
"""How llorch-worker begins the one line that says why it does not start."""

CRASH: Final = re.compile(
    r"GGML_ASSERT|GGML_ABORT|CUDA error|ROCm error|terminate called|what\(\):|std::\w+_error"
)
"""Words that tell more about a crash than the lines after them."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A pattern of one line, and what it means.

    The text may name the pattern's groups, {line} (the line itself) and {engine} ("; engine
    b11549", or nothing where the engine's build is unknown).
    """

    pattern: re.Pattern[str]
    code: Code
    text: str


def _causes(code: Code, *rows: tuple[str, str]) -> tuple[Cause, ...]:
    return tuple(Cause(re.compile(pattern, re.IGNORECASE), code, text) for pattern, text in rows)


_PORT: Final = _causes(
    Code.PORT_IN_USE,
    (r"couldn't bind HTTP server socket|address already in use", "{line}"),
)

_INSTALLATION: Final = _causes(
    Code.WORKER_START_FAILED,
    (
        r"error while loading shared libraries: (?P<library>[^\s:]+): cannot open",
        "the engine needs the shared library {library}, which is missing",
    ),
    (
        r"dyld.{0,20}: (?:Library not loaded|Symbol not found): (?P<library>\S+)",
        "the engine needs {library}, which this system does not have",
    ),
    (
        r"version [`'](?P<version>GLIBC\w*_[\d.]+)' not found",
        "the engine is built for a newer system: it needs {version}",
    ),
    (r"error while loading shared libraries", "{line}"),
    (r"needs the system library|the engine needs \S+\.so|the engine is not installed", "{line}"),
    (r"the engine cannot be loaded: ", "{line}"),
)

_BACKEND: Final = _causes(
    Code.BACKEND_UNAVAILABLE,
    (r"this CPU has no ", "{line}"),
    (
        r"no CPU backend found",
        "the engine finds no CPU backend: the plugins that belong beside its program are missing",
    ),
    (r"invalid device: (?P<device>\S+)", "the engine sees no device {device}"),
    (r"failed to initialize CUDA|no CUDA-capable device|CUDA driver version is insu", "{line}"),
    (r"no kernel image is available for execution", "the engine is not built for this GPU: {line}"),
)

_OPTIONS: Final = _causes(
    Code.WORKER_START_FAILED,
    (
        r"error: (?:invalid argument|unrecognized arguments): (?P<option>[^\s=]+)",
        "the engine does not know the option {option}{engine}",
    ),
    (
        r'error while handling argument "(?P<option>[^"]+)": the argument has been removed',
        "the engine does not know the option {option} any more{engine}",
    ),
    (
        r'error while handling argument "(?P<option>[^"]+)": (?P<why>.+)',
        "the engine does not accept the value of {option}: {why}",
    ),
)

_MEMORY: Final = _causes(
    Code.WORKER_START_FAILED,
    (
        r"(?:cuda|hip)Malloc\w* failed|(?:CUDA|ROCm|HIP) error: out of memory"
        r"|ErrorOutOf(?:Device|Host|Pool)Memory|CallbackErrorOutOfMemory"
        r"|unable to allocate (?:CUDA|ROCm|HIP|Vulkan|Metal|MTL|SYCL)\d*\w* buffer"
        r"|failed to allocate (?:CUDA|ROCm|HIP|Vulkan|Metal|MTL|SYCL)\d*\w* buffer"
        r"|ggml_metal\w*: .{0,80}failed to allocate buffer",
        "the GPU has not enough free memory: {line}",
    ),
    (r"insufficient memory", "the host has not enough free memory: {line}"),
    (r"bad_alloc|cannot allocate memory", "the host has not enough free memory: {line}"),
    (r"memory are available", "{line}"),
    (r"unable to allocate|failed to allocate|out of memory", "not enough memory: {line}"),
)

_FILE: Final = _causes(
    Code.MODEL_NOT_PULLED,
    (
        r"failed to open GGUF file '(?P<path>[^']*)' \(No such file or directory\)",
        "the model's file is not there: {path}",
    ),
    (r"^llorch-worker: error: --model .{0,4096}: No such file or directory", "{line}"),
)

_UNREADABLE: Final = _causes(
    Code.WORKER_START_FAILED,
    (
        r"failed to open GGUF file '(?P<path>[^']*)' \((?P<why>[^)]*)\)",
        "the model's file {path} cannot be opened: {why}",
    ),
)

_MODEL: Final = _causes(
    Code.MODEL_INCOMPATIBLE,
    (
        r"unknown model architecture: '(?P<name>[^']*)'",
        "unknown model architecture {name}{engine}",
    ),
    (
        r"unknown pre-tokenizer type: '(?P<name>[^']*)'",
        "unknown pre-tokenizer {name}{engine}",
    ),
    (r"unknown tokenizer: '(?P<name>[^']*)'", "unknown tokenizer {name}{engine}"),
    (
        r"GGUF file is version (?P<version>\d+) but this software only supports .{0,20}"
        r"version (?P<newest>\d+)",
        "the model's file has GGUF version {version}; the engine reads up to {newest}{engine}",
    ),
    (
        r"invalid magic characters: '(?P<found>.{0,8})', expected",
        "the model's file is not a GGUF file: it begins with '{found}'",
    ),
    (r"failed to read magic", "the model's file is empty or not a GGUF file"),
    (
        r"tensor '(?P<name>[^']*)' data is not within the file bounds",
        "the model's file is incomplete or damaged: it ends before tensor {name}",
    ),
    (
        r"invalid split (?:count|file)|missing key split\.|illegal split file",
        "the parts of the split model do not belong together: {line}",
    ),
    (
        r"wrong number of tensors|missing tensor|tensor '[^']*' (?:not found|has wrong)|wrong shape",
        "the model's tensors are not what its header promises: {line}{engine}",
    ),
    (r"not within the file bounds|corrupted or incomplete", "{line}"),
    (r"is not a GGUF file|the file is empty|is (?:damaged|incomplete)|names no model", "{line}"),
    (r"not a model: |later part of a split model", "{line}"),
    (r"GGUF version \d+ is not supported|failed to read header", "{line}"),
    (r"cannot find tokenizer|key not found in model|error loading model: ", "{line}"),
)

_LAST: Final = _causes(
    Code.WORKER_START_FAILED,
    (rf"^{OWN}", "{line}"),
)

CAUSES: Final = (
    *_PORT,
    *_INSTALLATION,
    *_OPTIONS[:2],
    *_BACKEND,
    *_OPTIONS[2:],
    *_MEMORY,
    *_FILE,
    *_UNREADABLE,
    *_MODEL,
    *_LAST,
)
"""Every cause that is known by its words; the first one that any line matches is the cause."""
