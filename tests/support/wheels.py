"""Wheels for the tests of enrolment: other releases made out of the built one, and an index."""

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["changed_suite", "file_index", "make_wheel"]


def changed_suite(
    wheels: Path, out: Path, *, project: str, inside: str, text: str, version: str | None = None
) -> Path:
    """The same suite with more text at the end of one file of one of its wheels."""
    out.mkdir(parents=True)
    for file in (*wheels.glob("*.whl"), wheels / "requirements.txt"):
        shutil.copy(file, out)
    (wheel,) = out.glob(f"{project}-*.whl")
    content = {
        item: zipfile.ZipFile(wheel).read(item) for item in zipfile.ZipFile(wheel).namelist()
    }
    content[inside] += text.encode()
    _write(wheel, content)
    listed = json.loads((wheels / "suite.json").read_text("utf-8"))
    for row in listed["wheels"]:
        row["sha256"] = hashlib.sha256((out / row["file"]).read_bytes()).hexdigest()
    listed["version"] = version or listed["version"]
    (out / "suite.json").write_text(json.dumps(listed))
    return out


def make_wheel(folder: Path, name: str, version: str, text: str) -> Path:
    """A wheel with one module of this text; its project could have any name."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        f"{module}/__init__.py": text.encode(),
        f"{info}/METADATA": head.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    _write(wheel, content)
    return wheel


def file_index(folder: Path, wheels: Iterable[Path]) -> str:
    """A package index made of plain files; returns its address."""
    pages: dict[str, list[str]] = {}
    for wheel in wheels:
        name = re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        pages.setdefault(name, []).append(f'<a href="{wheel.as_uri()}">{wheel.name}</a><br>')
    for name, links in pages.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "index.html").write_text("\n".join(["<!DOCTYPE html>", *links]))
    return folder.as_uri()


def _write(wheel: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for item, data in content.items():
            archive.writestr(item, data)
