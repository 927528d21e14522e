"""Packs texts into one .tar.gz that only this user can read; what is there is never replaced."""

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from orchestrator_core.errors import Code, Refusal

__all__ = ["write_archive"]


def write_archive(path: Path, files: Mapping[str, bytes], *, unix_s: int) -> int | Refusal:
    """Write the archive and tell its size; the names of its owner are not in it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return Refusal(Code.CONFLICT, f"{path} is there already: name another file with --out")
    except OSError as error:
        return Refusal(Code.INVALID_REQUEST, f"{path} cannot be written: {error.strerror}")
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(descriptor, 0o600)
            _pack(stream, path.name.removesuffix(".tar.gz"), files, unix_s)
            stream.flush()
            return stream.tell()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _pack(stream: io.BufferedWriter, folder: str, files: Mapping[str, bytes], unix_s: int) -> None:
    with (
        gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=unix_s) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, unix_s
            archive.addfile(entry, io.BytesIO(data))
