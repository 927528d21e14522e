"""Decides whether the engine may be started with these settings on this host.

Some values make the engine abort or hang for ever, so each is refused here by name, before the
engine is touched. Pure: engine.facts reads the host and the files, main prints the answer.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final

from llorch_worker.settings import Settings
from orchestrator_core.fit.estimate import estimate
from orchestrator_core.gguf.facts import ModelFacts
from orchestrator_core.units import format_bytes

__all__ = ["HostFacts", "refuse", "refuse_keys", "refuse_model"]

_MAX_SLOTS: Final = 256
_MAX_CTX_TOTAL: Final = 1 << 24
_MAX_LAYERS: Final = 9999
_MIN_BATCH: Final = 32
_MAX_BATCH: Final = 65_536
_MAX_PING_S: Final = 3600
_MAX_ALIAS: Final = 256
_MIN_KEY: Final = 16


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What this process may use of the host."""

    cpus: int
    memory_available_bytes: int


def refuse(settings: Settings, host: HostFacts) -> str | None:
    """Name the first setting that the engine must not be given, or None."""
    s = settings
    slots_ok = 1 <= s.parallel <= _MAX_SLOTS
    threads_ok = s.threads is None or 1 <= s.threads <= host.cpus
    cases = (
        (_is_loopback(s.host), f"--host {s.host}: a worker listens on a loopback address only"),
        (0 <= s.port <= 65_535, f"--port {s.port}: must be 0 to 65535"),
        (slots_ok, f"--parallel {s.parallel}: must be 1 to {_MAX_SLOTS}"),
        (s.ctx_size > 0, f"--ctx-size {s.ctx_size}: must be above 0"),
        (slots_ok and s.ctx_size >= s.parallel, f"--ctx-size {s.ctx_size}: less than a token each"),
        (_batch_ok(s.batch_size), f"--batch-size {s.batch_size}: must be {_MIN_BATCH} or more"),
        (
            _batch_ok(s.ubatch_size) and s.ubatch_size <= s.batch_size,
            f"--ubatch-size {s.ubatch_size}: must be {_MIN_BATCH} up to the batch size",
        ),
        (threads_ok, f"--threads {s.threads}: must be 1 to {host.cpus}, the CPUs of this process"),
        (0 <= s.gpu_layers <= _MAX_LAYERS, f"--n-gpu-layers {s.gpu_layers}: must be 0 to 9999"),
        (str(s.model).isprintable(), f"--model {str(s.model)!a}: must be printable text"),
        (_is_name(s.alias), "--alias: must be 1 to 256 printable characters without spaces"),
        (
            1 <= s.sse_ping_interval_s <= _MAX_PING_S,
            f"--sse-ping-interval {s.sse_ping_interval_s}: must be 1 to {_MAX_PING_S} seconds",
        ),
        (
            s.pooling is None or s.embeddings,
            f"--pooling {s.pooling}: has a meaning only together with --embeddings",
        ),
    )
    return next((message for holds, message in cases if not holds), None)


def refuse_model(settings: Settings, host: HostFacts, model: ModelFacts) -> str | None:
    """Name what of the model's header forbids a start with these settings, or None."""
    per_slot = settings.ctx_size // settings.parallel
    if model.trained_ctx and per_slot > model.trained_ctx:
        return (
            f"--ctx-size {settings.ctx_size}: {per_slot} tokens for each of {settings.parallel} "
            f"slots, but the model was trained for {model.trained_ctx}"
        )
    if settings.ctx_size > _MAX_CTX_TOTAL:
        return f"--ctx-size {settings.ctx_size}: at most {_MAX_CTX_TOTAL} tokens in all slots"
    need = estimate(
        model,
        ctx=per_slot,
        parallel=settings.parallel,
        batch_size=settings.ubatch_size,
        embeds=settings.embeddings,
    )
    # Who starts workers leaves a margin and knows the other ones; here only what is sure to fail
    # is refused, because the engine would fill the host's memory and never say so.
    # What a GPU holds does not lie in this memory.
    if settings.gpu_layers or need.sure_bytes <= host.memory_available_bytes:
        return None
    return (
        f"--ctx-size {settings.ctx_size}: the model needs {format_bytes(need.sure_bytes)}, of which "
        f"its cache takes {format_bytes(need.kv_bytes)}, but only "
        f"{format_bytes(host.memory_available_bytes)} of memory are available"
    )


def refuse_keys(keys: tuple[str, ...]) -> str | None:
    """Name what is wrong with the content of the key file, or None."""
    if not keys:
        return "--api-key-file: it holds no key"
    if any(len(key) < _MIN_KEY or not _is_name(key) for key in keys):
        return f"--api-key-file: a key is {_MIN_KEY} or more printable characters without spaces"
    return None


def _batch_ok(tokens: int) -> bool:
    return _MIN_BATCH <= tokens <= _MAX_BATCH


def _is_name(text: str) -> bool:
    return (
        1 <= len(text) <= _MAX_ALIAS and text.isascii() and text.isprintable() and " " not in text
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
