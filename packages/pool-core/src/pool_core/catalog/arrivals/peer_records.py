"""Decides what the records of other pools are worth where the hub does not say it: pure.

A record is taken only where it is just the model that was asked for, with the hash of every file,
and where the catalogue says nothing else of them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.gguf_names import quant_of, safe_relative, same_quant
from orchestrator_core.catalog.reference import Reference, ReferenceKind, canonical_id, parse
from orchestrator_core.contracts.sharing import SharedFile, SharedModel
from orchestrator_core.errors import Refusal
from pool_core.catalog.arrivals.selection import Selection, Wish, select
from pool_core.fetch.hub_answers import Listing, RemoteFile, file_url

__all__ = ["USUAL_QUANT", "Resolved", "chosen_record", "question_for", "resolved_by"]

USUAL_QUANT: Final = "Q4_K_M"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_MAIN: Final = "main"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is to be brought: the files that were chosen of a listing, and the catalogue's word."""

    chosen: Selection
    listing: Listing
    entry: CatalogEntry | None = None


def question_for(wish: Wish) -> str:
    """The one name by which a peer is asked; what may stand for several models is made exact."""
    reference = wish.reference
    if wish.entry is not None:
        return wish.entry.id
    if reference.quant is None and reference.file is None:
        return canonical_id(reference, quant=USUAL_QUANT)
    return canonical_id(reference)


def resolved_by(
    told: SharedModel, text: str, wish: Wish | None, *, mmproj: bool, endpoint: str
) -> Resolved | None:
    """What a peer's record stands for; None where it is not what was asked for."""
    if not _are_fit(told.all_files):
        return None
    if wish is None:
        return _imported(told, text, mmproj=mmproj)
    own = _own_reference(told, wish)
    if own is None or told.repo is None or told.commit is None:
        return None
    repo, commit = told.repo, told.commit
    remote = tuple(_remote(it, file_url(endpoint, repo, commit, it.file)) for it in told.all_files)
    listing = Listing(repo, commit, remote, told.license)
    chosen = select(wish, listing, mmproj=mmproj)
    if isinstance(chosen, Refusal) or any(file.sha256 is None for file in chosen.all_files):
        return None
    model_id = _id_of(chosen, wish, own)
    if model_id is None:
        return None
    left_out = chosen.mmproj_left_out or (mmproj and told.mmproj_left_out)
    chosen = replace(chosen, id=model_id, mmproj_left_out=left_out)
    return Resolved(chosen, listing, wish.entry)


def chosen_record(records: Sequence[tuple[str, Resolved]]) -> tuple[str, Resolved] | None:
    """The record that most peers tell, and who of them is named; of equals the first name."""
    votes = Counter(_contents(resolved) for _, resolved in records)
    ranked = sorted(records, key=lambda each: (-votes[_contents(each[1])], each[0]))
    return ranked[0] if ranked else None


def _are_fit(files: Sequence[SharedFile]) -> bool:
    """Whether the files can lie side by side, also where case and composed letters are alike."""
    if any(isinstance(safe_relative(it.file), Refusal) for it in files):
        return False
    names = {unicodedata.normalize("NFC", PurePosixPath(it.file).name).casefold() for it in files}
    return len(names) == len(files)


def _own_reference(told: SharedModel, wish: Wish) -> Reference | None:
    """What the peer calls the model, if that is what was asked for."""
    reference = wish.reference
    if told.source != "hub" or told.repo != reference.repo:
        return None
    if _COMMIT.fullmatch(reference.revision or "") and told.commit != reference.revision:
        return None
    if wish.entry is not None:
        return reference if told.id == wish.entry.id else None
    own = parse(told.id)
    if isinstance(own, Refusal) or own.kind is not ReferenceKind.HUB or own.repo != reference.repo:
        return None
    return own if _revision(reference) in (_revision(own), told.commit) else None


def _id_of(chosen: Selection, wish: Wish, own: Reference) -> str | None:
    """The id that the hub's own listing would have led to, and never one of the peer's choice."""
    reference = wish.reference
    if wish.entry is not None:
        return chosen.id
    first = chosen.files[0].path
    is_open = reference.quant is None and reference.file is None
    if own.file is not None:
        # Only who saw the whole repository knows that a quantization does not pick this file alone.
        return canonical_id(reference, file=first) if own.file == first and not is_open else None
    if not same_quant(own.quant, quant_of(first)):
        return None
    return chosen.id if not is_open or chosen.id == question_for(wish) else None


def _revision(reference: Reference) -> str | None:
    return None if reference.revision == _MAIN else reference.revision


def _imported(told: SharedModel, text: str, *, mmproj: bool) -> Resolved | None:
    """A file that a person took in on another host: no hub knows it, and its id alone names it."""
    if told.source != "file" or told.id != text:
        return None
    files = tuple(_remote(file, "") for file in told.files)
    image_part = _remote(told.mmproj, "") if told.mmproj is not None else None
    chosen = Selection(
        id=told.id,
        files=files,
        mmproj=image_part if mmproj else None,
        quant=told.quant,
        mmproj_left_out=told.mmproj_left_out or (image_part is not None and not mmproj),
    )
    return Resolved(chosen, Listing("", "", chosen.all_files, told.license))


def _remote(file: SharedFile, url: str) -> RemoteFile:
    return RemoteFile(file.file, file.size_bytes, file.sha256, url)


def _contents(resolved: Resolved) -> tuple[str | None, ...]:
    return tuple(file.sha256 for file in resolved.chosen.all_files)
