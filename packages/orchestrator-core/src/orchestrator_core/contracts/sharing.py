"""What a pool tells other pools of the models that it serves to them: names and contents, no paths.

Whoever reads it trusts no more of it than the hash of each file can prove.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.pool import Commit, Sha256

__all__ = ["SHARED_MODELS_MAX", "SharedFile", "SharedModel", "SharedModelList"]

SHARED_MODELS_MAX: Final = 256

_SIZE_MAX_BYTES: Final = 1 << 53
_Words = Annotated[str, StringConstraints(max_length=512)]


class SharedFile(Fact):
    """One file: its name in its repository or folder, and its content."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    size_bytes: Annotated[int, Field(ge=0, le=_SIZE_MAX_BYTES, strict=True)]
    sha256: Sha256


class SharedModel(Fact):
    """A model that another pool holds whole; the first of its files is what an engine opens."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    source: Literal["hub", "file"]
    name: _Words | None = None
    repo: _Words | None = None
    commit: Commit | None = None
    quant: _Words | None = None
    license: _Words | None = None
    files: Annotated[tuple[SharedFile, ...], Field(min_length=1, max_length=1024)]
    mmproj: SharedFile | None = None
    mmproj_left_out: bool = False

    @property
    def all_files(self) -> tuple[SharedFile, ...]:
        """Everything that belongs to the model."""
        return self.files if self.mmproj is None else (*self.files, self.mmproj)


class SharedModelList(Fact):
    """The models that a pool serves, or those of them that a name stands for."""

    items: Annotated[list[SharedModel], Field(max_length=SHARED_MODELS_MAX)]
