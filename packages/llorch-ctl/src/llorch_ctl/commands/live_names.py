"""The names that `llorch` completes: jobs, models, pools, workers and keys of the orchestrator, hosts.

Hosts come from config/llorch.toml without any call; everything else is asked of a running daemon.
"""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, cast

from llorch_ctl.settings import CliSettings
from orchestrator_core.console.live_names import Completer, NameSource, completer, items_of, word
from orchestrator_core.console.programs import ORCHESTRATORD

__all__ = ["HOSTS", "JOBS", "KEYS", "MODELS", "POOLS", "WORKERS", "workers_of"]

_SIZE_MAX_BYTES: Final = 1 << 20


def _ask(path: str) -> object:
    settings = CliSettings.from_environment()
    layout = settings.layout
    return NameSource(ORCHESTRATORD, layout, settings.env, layout.admin_key).ask(path)


def _jobs() -> Iterator[tuple[str, str]]:
    for job in items_of(_ask("/v2/tasks?limit=50")):
        yield word(job, "id"), f"{word(job, 'status')} {word(job, 'model')}"


def _models() -> Iterator[tuple[str, str]]:
    for model in items_of(_ask("/v1/models"), "data"):
        yield word(model, "id"), ""


def _pools() -> Iterator[tuple[str, str]]:
    for pool in items_of(_ask("/v2/pools")):
        yield word(pool, "pool_id"), word(pool, "status")


def _workers(host: str | None = None) -> Iterator[tuple[str, str]]:
    for pool in items_of(_ask("/v2/pools")):
        if host not in (None, word(pool, "pool_id")):
            continue
        for worker in items_of(pool, "workers"):
            told = f"{word(worker, 'status')} {word(worker, 'model')} on {word(pool, 'pool_id')}"
            yield word(worker, "name") or word(worker, "id"), told


def _keys() -> Iterator[tuple[str, str]]:
    for key in items_of(_ask("/v2/keys")):
        if not word(key, "revoked_at"):
            yield word(key, "name"), word(key, "id")


def _hosts() -> Iterator[tuple[str, str]]:
    with CliSettings.from_environment().layout.config_file("llorch").open("rb") as stream:
        tree: dict[str, object] = tomllib.loads(stream.read(_SIZE_MAX_BYTES).decode("utf-8"))
    hosts = tree.get("hosts")
    if isinstance(hosts, Mapping):
        for name, table in cast("Mapping[str, object]", hosts).items():
            yield name, word(table, "ssh") or word(table, "url")


def workers_of(host: str | None) -> Completer:
    """Complete the workers of one pool, which is called like its host, or those of all."""
    return completer(lambda: _workers(host))


HOSTS: Final = completer(_hosts)
JOBS: Final = completer(_jobs)
KEYS: Final = completer(_keys)
MODELS: Final = completer(_models)
POOLS: Final = completer(_pools)
WORKERS: Final = workers_of(None)
