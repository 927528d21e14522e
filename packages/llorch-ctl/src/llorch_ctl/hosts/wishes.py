"""Decides what a command line asks of a host that is still to be chosen; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["BACKENDS", "Wish", "read_wish"]

# The order in which a download looks for a home, because no backend is named then.
BACKENDS: Final = ("cuda", "metal", "rocm", "vulkan", "sycl", "cpu")

_MODEL: Final = "--model"
_SPAWN: Final = ("worker", "spawn")
_DOWNLOAD: Final = ("models", "download")
# The options of both commands that take a word which could be read as a backend or a model.
_TAKING: Final = frozenset(
    {
        "--via", "--url", "--format", "--gpu", "--ctx", "--parallel", "--threads", "--timeout",
        _MODEL,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """A model, and the backends that will do, the best first; brings it: it need not be there."""

    model: str
    backends: tuple[str, ...]
    brings_model: bool


def read_wish(verb: str, rest: Sequence[str]) -> Wish | Refusal:
    """Read the words behind `llorch pool VERB` as far as the choice of a host needs them."""
    command = (verb, rest[0]) if rest else (verb,)
    if command not in (_SPAWN, _DOWNLOAD):
        line = "--host auto chooses a host for worker spawn and models download; name the host here"
        return Refusal(Code.INVALID_REQUEST, line)
    plain, model = _split(rest[1:])
    if command == _DOWNLOAD:
        if not plain:
            return Refusal(Code.INVALID_REQUEST, "name a model to choose a host for")
        return Wish(plain[0], BACKENDS, brings_model=True)
    if model is None or not plain or plain[0] not in BACKENDS:
        line = "--host auto needs to know the BACKEND and the --model: worker spawn cpu --model M"
        return Refusal(Code.INVALID_REQUEST, line)
    return Wish(model, (plain[0],), brings_model=False)


def _split(words: Sequence[str]) -> tuple[list[str], str | None]:
    plain: list[str] = []
    model: str | None = None
    rest = iter(words)
    for word in rest:
        name, given, value = word.partition("=")
        if name in _TAKING:
            value = value if given else next(rest, "")
            model = value if name == _MODEL else model
        elif not word.startswith("-"):
            plain.append(word)
    return plain, model or None
