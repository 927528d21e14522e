"""What the names of files tell about models: parts, quantization, what belongs together; pure.

The names come from repositories and folders that nobody vouches for. safe_relative is the one gate
that each of them passes before a path is built from it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Generic, Protocol, TypeVar

from orchestrator_core.errors import Code, Refusal

__all__ = [
    "Choice",
    "NamedFile",
    "Split",
    "choose",
    "is_mmproj",
    "is_model",
    "quant_of",
    "safe_relative",
    "same_quant",
    "split_of",
]

_PART_BYTES_MAX: Final = 255
_PATH_BYTES_MAX: Final = 1024
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SPLIT: Final = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)
# A tag ends the name or stands before another word of it: model-Q4_K_M-imat.gguf.
_TAG: Final = re.compile(
    r"""(?:^|(?<=[-._]))
        (?P<tag> (?:UD-)?
            (?: I?Q[1-8](?:_(?:[0-9]{1,2}|[A-Z]{1,3}[0-9]?))*
              | TQ[12]_[0-9] | I2_S | MXFP[468](?:_[A-Z]{1,3})? | NVFP4
              | BF16 | FP?(?:16|32) ))
        (?=[-.]|$)""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_BITS: Final = re.compile(r"[A-Z]([0-9]{1,2})")
_PROJECTOR: Final = "mmproj"
_NOT_MODELS: Final = (_PROJECTOR, "imatrix")
_COMPANIONS: Final = ("mtp-", "eagle3-", "dflash-", "dspark-")
_MIXED: Final = "UD-"
_FIRST_CHOICES: Final = ("Q4_K_M", "Q8_0")
_UNCONVERTED: Final = (".safetensors", ".bin", ".pth", ".pt")
_CONVERTER: Final = "convert_hf_to_gguf.py of llama.cpp"
_SHOWN_MAX: Final = 24


class NamedFile(Protocol):
    """A file of a repository or folder; path is relative to it."""

    @property
    def path(self) -> str:
        """The name with its folders, parted by slashes."""
        ...


_File = TypeVar("_File", bound=NamedFile)


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a split model; stem is the path before the numbers, number counts from 1."""

    stem: str
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Choice(Generic[_File]):
    """The files of one model: parts are those after the first, in their order.

    quant is what the name tells; it is distinct where it alone picks this model out of all.
    """

    first: _File
    parts: tuple[_File, ...] = ()
    mmproj: _File | None = None
    quant: str | None = None
    distinct: bool = False


def safe_relative(path: str) -> str | Refusal:
    """The same path if it can be joined to a folder without ever leaving it, or why it cannot."""
    fault = _path_fault(path)
    if fault is None:
        return path
    text = f"{path[:80]!a} cannot be the name of a file of a model: {fault}"
    return Refusal(Code.INVALID_REQUEST, text)


def _path_fault(path: str) -> str | None:
    # Not printable are control characters, lone surrogates and marks that turn the text around.
    if not path.isprintable():
        return "it holds characters that cannot be shown"
    if "\\" in path or _DRIVE.match(path):
        return "it is not a path of folders parted by slashes"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty, . or .. part"
    if any(part.startswith("-") for part in parts):
        return "a part of it begins with -"
    sizes = [len(part.encode()) for part in parts]
    if max(sizes) > _PART_BYTES_MAX or sum(sizes) + len(parts) - 1 > _PATH_BYTES_MAX:
        return f"it is longer than {_PART_BYTES_MAX} bytes a part or {_PATH_BYTES_MAX} in all"
    return None


def split_of(path: str) -> Split | None:
    """Which part of a split model this is, or None for a file that is whole."""
    found = _SPLIT.fullmatch(path)
    if found is None:
        return None
    number, count = int(found[2]), int(found[3])
    return Split(found[1], number, count) if 1 <= number <= count else None


def quant_of(path: str) -> str | None:
    """The quantization that the name tells, in capitals; else that of the nearest folder."""
    split = split_of(path)
    whole = PurePosixPath(split.stem if split else path.removesuffix(".gguf").removesuffix(".GGUF"))
    for name in (whole.name, *(folder.name for folder in whole.parents)):
        tags = [found["tag"].upper() for found in _TAG.finditer(name)]
        if tags:
            return tags[-1]
    return None


def same_quant(one: str | None, other: str | None) -> bool:
    """True for two spellings of one quantization: q4_k_m and Q4_K_M, FP16 and F16."""
    return one is not None and other is not None and _spelled(one) == _spelled(other)


def is_mmproj(path: str) -> bool:
    """True for the part of a model that reads images or sound."""
    name = PurePosixPath(path).name.lower()
    return name.endswith(".gguf") and _PROJECTOR in name


def is_model(path: str) -> bool:
    """True for a file that an engine could load alone or as a part of a split model."""
    name = PurePosixPath(path).name.lower()
    if not name.endswith(".gguf") or any(word in name for word in _NOT_MODELS):
        return False
    return not name.startswith(_COMPANIONS)


def choose(
    files: Sequence[_File], *, quant: str | None = None, file: str | None = None
) -> Choice[_File] | Refusal:
    """Pick one model of a repository, with its parts and what reads its images.

    file names it exactly, quant by its quantization; without both Q4_K_M is taken, then Q8_0,
    then the first by name.
    """
    ordered = sorted(files, key=lambda it: it.path)
    models = _models(ordered)
    if not models:
        return _no_model(ordered)
    if file is not None:
        model = _by_file(models, file)
    elif quant is not None:
        model = _by_quant(models, quant)
    else:
        model = _by_habit(models)
    return model if isinstance(model, Refusal) else _complete(model, models, ordered)


@dataclass(slots=True)
class _Model(Generic[_File]):
    """The files of one model by the numbers of their parts."""

    path: str
    count: int
    files: dict[int, _File]

    @property
    def quant(self) -> str | None:
        return quant_of(self.path)

    @property
    def depth(self) -> int:
        return self.path.count("/")


def _models(ordered: Sequence[_File]) -> list[_Model[_File]]:
    found: dict[tuple[str, int], _Model[_File]] = {}
    for file in ordered:
        if not is_model(file.path):
            continue
        split = split_of(file.path) or Split(file.path, 1, 1)
        model = found.setdefault((split.stem, split.count), _Model(file.path, split.count, {}))
        model.files.setdefault(split.number, file)
    return list(found.values())


def _by_file(models: Sequence[_Model[_File]], file: str) -> _Model[_File] | Refusal:
    for model in models:
        if any(it.path == file for it in model.files.values()):
            return model
    if not is_model(file):
        return Refusal(Code.INVALID_REQUEST, f"{file} is not the file of a model that can be run")
    return _not_there(models, f"there is no file {file}")


def _by_quant(models: Sequence[_Model[_File]], quant: str) -> _Model[_File] | Refusal:
    found = [it for it in models if same_quant(it.quant, quant)]
    if not found:
        # Some publishers put UD- before the tag, and nobody writes that who has not seen it.
        found = [it for it in models if same_quant(it.quant, f"{_MIXED}{quant}")]
    if not found:
        return _not_there(models, f"there is no {quant}")
    return _only(found, quant.upper())


def _by_habit(models: Sequence[_Model[_File]]) -> _Model[_File] | Refusal:
    for quant in _FIRST_CHOICES:
        found = _by_quant(models, quant)
        if not isinstance(found, Refusal) or found.code is not Code.MODEL_NOT_FOUND:
            return found
    return models[0]


def _spelled(quant: str) -> str:
    capitals = quant.upper()
    return {"FP16": "F16", "FP32": "F32"}.get(capitals, capitals)


def _only(found: Sequence[_Model[_File]], quant: str) -> _Model[_File] | Refusal:
    """The one that lies highest, if no other lies as high."""
    top = min(it.depth for it in found)
    highest = [it for it in found if it.depth == top]
    if len(highest) == 1:
        return highest[0]
    paths = [it.path for it in highest]
    text = f"{len(paths)} files are {quant}: name one by ::file=PATH: {_listed(paths)}"
    return Refusal(Code.INVALID_REQUEST, text, {"files": paths[:_SHOWN_MAX]})


def _complete(
    model: _Model[_File], models: Sequence[_Model[_File]], ordered: Sequence[_File]
) -> Choice[_File] | Refusal:
    missing = next((n for n in range(1, model.count + 1) if n not in model.files), None)
    if missing is not None:
        split = split_of(model.path)
        name = f"{split.stem}-{missing:05d}-of-{model.count:05d}.gguf" if split else model.path
        text = f"the model is incomplete: part {missing} of {model.count} is missing: {name}"
        return Refusal(Code.MODEL_NOT_FOUND, text, {"missing": name})
    first, *parts = (model.files[number] for number in range(1, model.count + 1))
    distinct = model.quant is not None and _by_quant(models, model.quant) is model
    return Choice(first, tuple(parts), _projector(first.path, ordered), model.quant, distinct)


def _projector(path: str, ordered: Sequence[_File]) -> _File | None:
    """The one nearest by folder, then by bits."""
    found = [file for file in ordered if is_mmproj(file.path)]
    return min(
        found, key=lambda it: (_distance(path, it.path), _bits_apart(path, it.path)), default=None
    )


def _distance(path: str, other: str) -> int:
    """How many folders one goes up and down from one file to the other."""
    here, there = PurePosixPath(path).parent.parts, PurePosixPath(other).parent.parts
    shared = 0
    for mine, its in zip(here, there, strict=False):
        if mine != its:
            break
        shared += 1
    return len(here) + len(there) - 2 * shared


def _bits_apart(path: str, other: str) -> int:
    return abs(_bits(path) - _bits(other))


def _bits(path: str) -> int:
    found = _BITS.search(quant_of(path) or "")
    return int(found[1]) if found else 0


def _no_model(files: Sequence[NamedFile]) -> Refusal:
    if any(file.path.endswith(_UNCONVERTED) for file in files):
        text = f"there is no GGUF file, only weights that {_CONVERTER} would have to convert"
        return Refusal(Code.CONVERSION_REQUIRED, text)
    return Refusal(Code.MODEL_NOT_FOUND, "there is no GGUF file of a model")


def _not_there(models: Sequence[_Model[_File]], what: str) -> Refusal:
    quants = sorted({it.quant for it in models if it.quant})
    shown = quants or [it.path for it in models]
    details = {"quants": quants, "files": [it.path for it in models[:_SHOWN_MAX]]}
    return Refusal(Code.MODEL_NOT_FOUND, f"{what}: there is {_listed(shown)}", details)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_MAX
    return ", ".join(names[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
