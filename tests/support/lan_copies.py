"""A small model that goes from one pool to another, and what a peer may do to a request for it."""

import hashlib
import threading
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.contracts.sharing import SharedFile, SharedModel
from orchestrator_core.errors import Refusal
from support.model_store import Bench, Never, Told
from support.scripted_pools import Sending
from support.tiny_library import REPO, SMALL, SMALL_ID

__all__ = [
    "HALF",
    "HASH",
    "bring",
    "ends_early",
    "falls_silent",
    "flips_a_byte",
    "has_another_content",
    "is_busy",
    "is_gone",
    "must_be_whole",
    "packs",
    "sends_elsewhere",
    "sends_without_end",
    "shared",
    "tells_less",
    "tells_more",
    "tells_two_sizes",
]

HASH: Final = hashlib.sha256(SMALL).hexdigest()
HALF: Final = len(SMALL) // 2


def shared(**changes: object) -> SharedModel:
    """The record of the model as a pool tells it."""
    file = SharedFile(file="tiny-Q4_K_M.gguf", size_bytes=len(SMALL), sha256=HASH)
    told = SharedModel(
        id=SMALL_ID, source="hub", repo=REPO, commit="c" * 40, quant="Q4_K_M", files=(file,)
    )
    return told.model_copy(update=changes)


def bring(bench: Bench, model: str = SMALL_ID) -> tuple[StoredModel | Refusal, Told]:
    """Download it, and hear everything that is told meanwhile."""
    told = Told()
    return bench.library.download(DownloadOrder(model=model), tell=told, cancel=Never()), told


def must_be_whole(bench: Bench, answer: StoredModel | Refusal) -> None:
    """Fail unless every byte is here."""
    assert isinstance(answer, StoredModel), answer
    assert answer.files[0].sha256 == HASH
    assert Path(answer.files[0].path).read_bytes() == SMALL


def flips_a_byte(sending: Sending) -> None:
    """One byte is another."""
    at = len(sending.body) // 2
    body = sending.body
    sending.body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def ends_early(sending: Sending) -> None:
    """It says how much comes and sends a third."""
    sending.body = sending.body[: len(sending.body) // 3]


def tells_less(sending: Sending) -> None:
    """One byte too few."""
    sending.body = sending.body[:-1]
    sending.headers["content-length"] = str(len(sending.body))


def tells_more(sending: Sending) -> None:
    """Four bytes too many."""
    sending.body += b"more"
    sending.headers["content-length"] = str(len(sending.body))


def sends_without_end(sending: Sending) -> None:
    """It does not say how much comes."""
    del sending.headers["content-length"]
    sending.body *= 3


def tells_two_sizes(sending: Sending) -> None:
    """It answers with a part that nobody asked for."""
    sending.headers["content-range"] = "bytes 0-9/10"
    sending.status = 206


def falls_silent(sending: Sending) -> None:
    """Half of it, and then nothing."""
    sending.body = sending.body[: len(sending.body) // 2]
    sending.then = lambda: threading.Event().wait(3)


def packs(sending: Sending) -> None:
    """It says that the bytes are packed."""
    sending.headers["content-encoding"] = "gzip"


def has_another_content(sending: Sending) -> None:
    """It says that it is another content."""
    sending.headers["etag"] = f'"{"0" * 64}"'


def is_gone(sending: Sending) -> None:
    """It is not there any more."""
    sending.status, sending.body = 404, b""
    sending.headers = {"content-length": "0"}


def is_busy(sending: Sending) -> None:
    """Others are served."""
    sending.status, sending.body = 503, b""
    sending.headers = {"content-length": "0", "retry-after": "60"}


def sends_elsewhere(sending: Sending) -> None:
    """It names another address."""
    sending.status, sending.body = 302, b""
    sending.headers = {"content-length": "0", "location": "http://127.0.0.1:1/elsewhere"}
