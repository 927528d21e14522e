"""Acts on a store that are killed at every call that changes the disk; after each death one looks.

Run as a module: python -m support.store_deaths ACT FOLDER. Each line of the output is one death:
its number, how the child ended, and what was wrong afterwards, or None.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.models import CleanUpOrder, DeleteOrder, ImportOrder, VerifyOrder
from orchestrator_core.errors import Refusal
from pool_core.catalog.store.shelf import shelf_names
from pool_core.catalog.store.store import Store
from support.deaths import die_at, in_a_child
from support.model_store import Bench, Never, Told, quiet, small_model, split_model

__all__ = ["ACTS"]

_OTHER = small_model("other")
_PARTS = split_model("parts", 2)
_FIRST = "parts-00001-of-00002.gguf"
_COMMIT = "c" * 40
_AGE_S = 8 * 86_400
_DEATHS_MAX = 400


def _take(bench: Bench, name: str, model_id: str, method: str) -> object:
    path = str(bench.folder / "source" / name)
    order = ImportOrder.model_validate({"path": path, "id": model_id, "method": method})
    return bench.open().take_in(order, tell=quiet, cancel=Never())


def _adopt(bench: Bench) -> object:
    order = DownloadOrder(model="hf:acme/parts:Q8_0")
    return bench.open().download(order, tell=Told(), cancel=Never())


def _clean(bench: Bench) -> object:
    return bench.open().clean_up(CleanUpOrder(unused_s=0), [])


def _verify(bench: Bench) -> object:
    return bench.open().verify(VerifyOrder(model="mine"), tell=_hear, cancel=Never())


def _hear(name: str, done_bytes: int, total_bytes: int) -> None:
    del name, done_bytes, total_bytes


ACTS: dict[str, Callable[[Bench], object]] = {
    "copy": lambda bench: _take(bench, _FIRST, "new", "copy"),
    "link": lambda bench: _take(bench, _FIRST, "new", "hardlink"),
    "adopt": _adopt,
    "delete": lambda bench: bench.open().delete(DeleteOrder(model="mine"), []),
    "clean": _clean,
    "verify": _verify,
}


def _furnish(folder: Path) -> Bench:
    """A store with two models that share a part, and a cache with a third."""
    bench = Bench(folder, env={"HF_HUB_OFFLINE": "1"})
    repo = bench.cache / "models--acme--parts"
    for place in ("blobs", "refs", f"snapshots/{_COMMIT}"):
        (repo / place).mkdir(parents=True)
    (repo / "refs" / "main").write_text(_COMMIT)
    source = folder / "source"
    source.mkdir()
    (source / "other.gguf").write_bytes(_OTHER)
    for name, data in _PARTS.items():
        (source / name).write_bytes(data)
    for name, data in split_model("parts-Q8_0", 2, "Cached").items():
        sha256 = hashlib.sha256(data).hexdigest()
        (repo / "blobs" / sha256).write_bytes(data)
        (repo / "snapshots" / _COMMIT / name).symlink_to(f"../../blobs/{sha256}")
    for name, model_id in (("other.gguf", "mine"), ("other.gguf", "other")):
        answer = _take(bench, name, model_id, "copy")
        assert isinstance(answer, list), answer
        bench.clock.pass_s(86_400)
    return bench


def _fault(bench: Bench, *, of: str) -> str | None:
    """A model without its files, a content under a wrong name, or a model that nobody deleted."""
    store = Store(bench.store)
    records = store.records.all()
    for record in records:
        fault = store.fault_of(record) or store.usable_path(record)
        if isinstance(fault, Refusal):
            return fault.message
    for sha256, _ in store.blobs.all():
        if hashlib.sha256(store.blobs.path(sha256).read_bytes()).hexdigest() != sha256:
            return f"{sha256} is another content"
    left = {record.id for record in records}
    if of == "clean":
        return None
    kept = {"other"} if of == "delete" else {"mine", "other"}
    return None if kept <= left else f"only {left} are left"


def _leftover(bench: Bench) -> str | None:
    """What no model needs and nobody takes away, also when it is old."""
    bench.clock.now_ms = round(time.time() * 1000)
    for _ in range(3):
        bench.clock.pass_s(_AGE_S)
        bench.open().clean_up(CleanUpOrder(), [])
    store = Store(bench.store)
    records = store.records.folder
    needed = {bench.store / "store.lock", *store.claims.folder.iterdir(), *records.glob("*.json")}
    for record in store.records.all():
        needed |= {store.blobs.path(file.sha256) for file in record.all_files}
        needed |= {store.shelf.place(record.id) / name for name in shelf_names(record)}
    found = {path for path in bench.store.rglob("*") if path.is_file()}
    return ", ".join(sorted(str(path) for path in found - needed)) or None


def main(argv: list[str]) -> int:
    """Die at the first call, the second, and so on, until there is none any more."""
    name, folder = argv
    act = ACTS[name]
    for call in range(1, _DEATHS_MAX):
        bench = _furnish(Path(folder) / str(call))

        def doomed(bench: Bench = bench, call: int = call) -> int:
            die_at(call)
            return 1 if isinstance(act(bench), Refusal) else 0

        code = in_a_child(doomed)
        fault = _fault(bench, of=name)
        again = act(bench)
        if isinstance(again, Refusal) and name != "delete":
            fault = fault or again.message
        fault = fault or _fault(bench, of=name) or _leftover(bench)
        print(call, code, fault, flush=True)
        if code >= 0:
            return code
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
