"""What is known of a model, downloaded or not, and what a worker with it takes of a device."""

from typing import Annotated, Literal

from pydantic import Field

from orchestrator_core.contracts.base import Fact, Order
from orchestrator_core.contracts.models import ModelName, StoredFile
from orchestrator_core.contracts.pool import Backend

__all__ = [
    "CacheType",
    "DeviceFit",
    "InfoOrder",
    "ModelInfo",
]

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
"""How the keys or the values of a context are kept."""


class InfoOrder(Order):
    """A question about a model and whether a worker for it would fit; ctx is per slot.

    Without backend and devices every device of the host is judged.
    """

    model: ModelName
    ctx: Annotated[int, Field(ge=64, le=4_194_304)] | None = None
    parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    batch_size: Annotated[int, Field(ge=32, le=16_384)] = 256
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    backend: Backend | None = None
    device_ids: tuple[str, ...] = ()


class DeviceFit(Fact):
    """What a worker with ctx tokens in each of its slots takes of one device, and the verdict."""

    device_id: str
    device_name: str
    backend: Backend
    ctx: int
    parallel: int
    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int
    needed_bytes: int
    """All of them with the margin that is kept free."""

    free_bytes: int
    total_bytes: int
    fits: bool
    approximate: bool
    reasons: list[str]


class ModelInfo(Fact):
    """What is known of a model, downloaded or not; what its header keeps silent about is None."""

    id: str
    model: str
    name: str | None = None
    description: str | None = None
    source: Literal["builtin", "hub", "file"]
    is_here: bool
    repo: str | None = None
    commit: str | None = None
    quant: str | None = None
    license: str | None = None
    files: list[StoredFile]
    size_bytes: int | None = None
    architecture: str | None = None
    file_type: str | None = None
    parameters: int | None = None
    trained_ctx: int | None = None
    blocks: int | None = None
    embedding_length: int | None = None
    head_count: int | None = None
    kv_heads: list[int] = Field(default_factory=list[int])
    vocab_size: int | None = None
    expert_count: int | None = None
    sliding_window: int | None = None
    has_chat_template: bool | None = None
    has_mmproj: bool = False
    header_bytes_read: int | None = None
    """How much of the file had to be read to know this."""

    fits: list[DeviceFit] = Field(default_factory=list[DeviceFit])
