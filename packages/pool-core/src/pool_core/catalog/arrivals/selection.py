"""Decides which files of a repository a download brings, and under which id: pure.

Takes what a person wrote, the catalogue's word on it, and the listing of the repository.
"""

from dataclasses import dataclass, replace

from orchestrator_core.catalog.entries import CatalogEntry, runnable
from orchestrator_core.catalog.gguf_names import Choice, choose
from orchestrator_core.catalog.reference import Reference, ReferenceKind, canonical_id, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_answers import Listing, RemoteFile

__all__ = ["Selection", "Wish", "select", "wish_for"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A model of the hub that somebody wants; entry is what the catalogue knows of it."""

    reference: Reference
    entry: CatalogEntry | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to bring, the one that an engine opens first, and the id of the model."""

    id: str
    files: tuple[RemoteFile, ...]
    mmproj: RemoteFile | None = None
    quant: str | None = None
    mmproj_left_out: bool = False

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        """Everything that is brought."""
        return self.files if self.mmproj is None else (*self.files, self.mmproj)


def wish_for(text: str, catalog: Catalog) -> Wish | Refusal:
    """Read what was written as a model of the hub."""
    entry = catalog.find(text)
    if entry is not None:
        return runnable(entry) or _wish_of(entry)
    reference = parse(text)
    if isinstance(reference, Refusal):
        return reference
    if reference.kind is ReferenceKind.FILE:
        line = (
            f"{reference.file} lies on a host already: llorch-pool models import {reference.file}"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    if reference.kind is ReferenceKind.HUB:
        return Wish(reference)
    unknown = catalog.resolve(text)
    return unknown if isinstance(unknown, Refusal) else _wish_of(unknown)


def select(wish: Wish, listing: Listing, *, mmproj: bool) -> Selection | Refusal:
    """Choose the files; the catalogue's hashes are held against the hub's."""
    entry, reference = wish.entry, wish.reference
    choice = choose(listing.files, quant=reference.quant, file=reference.file)
    if isinstance(choice, Refusal):
        return replace(choice, message=f"{listing.repo}: {choice.message}")
    if entry is not None:
        return _as_known(choice, listing, entry, mmproj=mmproj)
    model_id = _id_of(reference, choice)
    # What could not be named again would be fetched for nothing.
    if not model_id.isascii() or isinstance(parse(model_id), Refusal):
        line = f"{listing.repo}: no model can be named by the path of {choice.first.path[:80]!a}"
        return Refusal(Code.INVALID_REQUEST, f"{line}: list it in catalog.toml under a short id")
    return Selection(
        id=model_id,
        files=(choice.first, *choice.parts),
        mmproj=choice.mmproj if mmproj else None,
        quant=choice.quant,
        mmproj_left_out=choice.mmproj is not None and not mmproj,
    )


def _wish_of(entry: CatalogEntry) -> Wish | Refusal:
    file = entry.file
    if file.source == "file":
        line = f"{entry.id} is a file of a host already: llorch-pool models import {file.file}"
        return Refusal(Code.INVALID_REQUEST, line)
    reference = Reference(
        ReferenceKind.HUB, entry.id, repo=file.repo, revision=file.commit, file=file.file
    )
    return Wish(reference, entry)


def _id_of(reference: Reference, choice: Choice[RemoteFile]) -> str:
    """The quantization names the model where it alone leads to the same file."""
    if choice.distinct:
        return canonical_id(reference, quant=choice.quant)
    return canonical_id(reference, file=choice.first.path)


def _as_known(
    choice: Choice[RemoteFile], listing: Listing, entry: CatalogEntry, *, mmproj: bool
) -> Selection | Refusal:
    """The selection of a model of the catalogue, whose own word on its files counts."""
    file = entry.file
    projector = choice.mmproj
    if file.mmproj is not None:
        named = file.mmproj.file
        projector = next((it for it in listing.files if it.path == named), None)
        if projector is None:
            return Refusal(Code.MODEL_NOT_FOUND, f"{listing.repo}: there is no file {named}")
    files = (choice.first, *choice.parts)
    checked: list[RemoteFile] = []
    for it in files if projector is None else (*files, projector):
        known = _with_known_hash(it, _hashes(file))
        if known is None:
            line = f"{it.path} of {listing.repo} is not the file that the catalogue knows: name it "
            at = f"hf:{listing.repo}@{listing.commit}::file={choice.first.path}"
            return Refusal(Code.DATA_CORRUPT, f"{line}as {at} if you trust it")
        checked.append(known)
    return Selection(
        id=entry.id,
        files=tuple(checked[: len(files)]),
        mmproj=checked[-1] if projector is not None and mmproj else None,
        quant=entry.quant or choice.quant,
        mmproj_left_out=projector is not None and not mmproj,
    )


def _hashes(file: ModelFile) -> dict[str, str | None]:
    extra = (file.mmproj,) if file.mmproj else ()
    return {file.file: file.sha256, **{it.file: it.sha256 for it in (*file.parts, *extra)}}


def _with_known_hash(file: RemoteFile, hashes: dict[str, str | None]) -> RemoteFile | None:
    expected = hashes.get(file.path)
    if expected is None or file.sha256 == expected:
        return file
    return replace(file, sha256=expected) if file.sha256 is None else None
