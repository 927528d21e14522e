"""Starts the embedded engine and tells whether it is at work.

The constructor of the engine's server loads the model and opens the port; it holds the
interpreter while it does. The server is never deleted: with a request in flight that would
freeze the process, so it lives until os._exit.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from llorch_worker.settings import Settings

__all__ = ["Engine", "EngineError", "busy", "sees_gpu", "start"]

_SPARE_HTTP_THREADS: Final = 6
_LOG_ERRORS: Final = 1
_BUSY_SIGNS: Final = ("llamacpp:requests_processing", "llamacpp:requests_deferred")


class EngineError(RuntimeError):
    """The engine refused to start; its own reason stands on stderr."""


class _Server(Protocol):
    listening_address: str

    def handle_metrics(self) -> str: ...


class _Threads(Protocol):
    n_threads: int


class _ModelParams(Protocol):
    path: str


class _Params(Protocol):
    model: _ModelParams
    cpuparams: _Threads
    cpuparams_batch: _Threads
    model_alias: set[str]
    hostnames: list[str]
    api_keys: list[str]
    cors_origins: str
    pooling_type: object
    port: int
    n_ctx: int
    n_parallel: int
    n_batch: int
    n_ubatch: int
    n_gpu_layers: int
    n_threads_http: int
    cache_ram_mib: int
    verbosity: int
    sse_ping_interval: int
    embedding: bool
    fit_params: bool
    endpoint_metrics: bool
    endpoint_slots: bool
    ui: bool


class _Module(Protocol):
    """The part of the engine's module that we use; it ships without types."""

    llama_pooling_type: object

    def get_device_info(self) -> list[dict[str, object]]: ...

    def CommonParams(self) -> _Params: ...  # noqa: N802 - the engine's name

    def Server(self, params: _Params) -> _Server: ...  # noqa: N802 - the engine's name


class Engine:
    """A running server; lives as long as the process."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.listening_address

    def is_busy(self) -> bool:
        """True while a request is computed or waits for a slot."""
        return busy(self._server.handle_metrics())


def busy(metrics: str) -> bool:
    """Read from the engine's metrics text whether any request is alive in it."""
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name in _BUSY_SIGNS and float(value or 0) > 0:
            return True
    return False


def start(settings: Settings, keys: tuple[str, ...], threads: int) -> Engine:
    """Load the model and listen; raises ImportError or EngineError."""
    module = cast("_Module", import_module("xllamacpp"))
    if settings.gpu_layers and not sees_gpu(module.get_device_info()):
        raise EngineError(
            "--n-gpu-layers: the engine sees no GPU, and the CPU is no stand-in for it"
        )
    params = module.CommonParams()
    _fill(params, settings, keys, threads)
    if settings.pooling is not None:
        name = f"LLAMA_POOLING_TYPE_{settings.pooling.upper()}"
        params.pooling_type = getattr(module.llama_pooling_type, name)
    try:
        return Engine(module.Server(params))
    except RuntimeError as error:
        raise EngineError(str(error)) from error


def sees_gpu(devices: Sequence[Mapping[str, object]]) -> bool:
    """Tell from the engine's own list whether it can compute on a GPU, its own or a shared one."""
    return any("GPU" in str(device.get("type")) for device in devices)


def _fill(params: _Params, settings: Settings, keys: tuple[str, ...], threads: int) -> None:
    params.model.path = str(settings.model)
    # Without an alias every answer would carry the file's full path.
    params.model_alias = {settings.alias}
    params.hostnames = [settings.host]
    params.port = settings.port
    params.api_keys = list(keys)
    # The engine's default would let any web page of a browser on this host try keys.
    params.cors_origins = ""
    params.n_ctx = settings.ctx_size
    params.n_parallel = settings.parallel
    params.n_batch = settings.batch_size
    params.n_ubatch = settings.ubatch_size
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # Every stream holds an HTTP thread; the rest answers health and metrics meanwhile.
    params.n_threads_http = settings.parallel + _SPARE_HTTP_THREADS
    params.n_gpu_layers = settings.gpu_layers
    params.fit_params = False
    # The prompt cache in host memory may take 8 GiB by default and is not accounted for.
    params.cache_ram_mib = 0
    params.sse_ping_interval = settings.sse_ping_interval_s
    params.embedding = settings.embeddings
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.ui = False
    params.verbosity = _LOG_ERRORS
