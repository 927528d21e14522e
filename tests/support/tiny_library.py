"""A hub with two small quantizations of one model, and what a library says when it fetches them."""

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.models import (
    StoredModel,
)
from orchestrator_core.errors import Refusal
from support.fake_hub import FakeHub
from support.model_store import Bench, Never, Told, small_model

__all__ = [
    "FILES",
    "LARGE",
    "LARGE_ID",
    "REPO",
    "SMALL",
    "SMALL_ID",
    "download",
    "fetched_bytes",
    "refused",
]

REPO = "acme/tiny-GGUF"
SMALL = small_model("Small", extra_bytes=300_000)
LARGE = small_model("Large", extra_bytes=500_000)
FILES = {"tiny-Q4_K_M.gguf": SMALL, "tiny-Q8_0.gguf": LARGE, "README.md": b"# tiny"}
SMALL_ID, LARGE_ID = f"hf:{REPO}:Q4_K_M", f"hf:{REPO}:Q8_0"


def download(bench: Bench, model: str, **fields: object) -> StoredModel:
    order = DownloadOrder.model_validate({"model": model, **fields})
    answer = bench.library.download(order, tell=Told(), cancel=Never())
    assert isinstance(answer, StoredModel), answer
    return answer


def refused(bench: Bench, model: str, **fields: object) -> Refusal:
    told = Told()
    order = DownloadOrder.model_validate({"model": model, **fields})
    answer = bench.library.download(order, tell=told, cancel=Never())
    assert isinstance(answer, Refusal), answer
    assert told.last.has_ended
    assert told.last.error_code == answer.code.value
    assert answer.message.isprintable()
    return answer


def fetched_bytes(hub: FakeHub) -> int:
    return sum(hub.sent_bytes(name) for name in FILES if name.endswith(".gguf"))
