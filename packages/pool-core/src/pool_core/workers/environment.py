"""Chooses the few variables that a worker sees: pure. Keys and tokens of the host never pass."""

from collections.abc import Mapping
from typing import Final

__all__ = ["INSTANCE", "WORKER", "is_marked", "worker_environment"]

INSTANCE: Final = "LLORCH_INSTANCE"
WORKER: Final = "LLORCH_WORKER"

_PASSED: Final = ("PATH", "HOME", "LANG", "LLORCH_HOME")
_DEFAULTS: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def worker_environment(
    host_env: Mapping[str, str], *, instance: str, worker_id: str
) -> dict[str, str]:
    """The whole environment of a worker, with the marks by which we know it again."""
    passed = {name: host_env[name] for name in _PASSED if host_env.get(name)}
    marks = {INSTANCE: instance, WORKER: worker_id, "GGML_NO_BACKTRACE": "1"}
    return {**_DEFAULTS, **passed, **marks}


def is_marked(env: Mapping[str, str], instance: str, worker_id: str) -> bool:
    """Tell whether a process was started by this installation as this worker."""
    return env.get(WORKER) == worker_id and env.get(INSTANCE) == instance
