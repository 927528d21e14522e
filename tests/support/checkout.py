"""What lies in the checkout: its packages, modules and tracked texts, for tests of the whole."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Module", "Package", "modules", "packages", "texts"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file, and its dotted name where it belongs to a package."""

    path: Path
    name: str

    @property
    def shown(self) -> str:
        """The path as messages print it."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.text, self.shown)

    def imported_roots(self) -> set[str]:
        """The top-level names of everything that the module imports, lazily or not."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
        return found


@dataclass(frozen=True)
class Package:
    """One distribution of the workspace."""

    folder: Path

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """Its declarations."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))

    @property
    def distribution(self) -> str:
        """The name that it is installed under."""
        return self.pyproject["project"]["name"]

    @cached_property
    def source(self) -> Path:
        """The folder that is imported."""
        return next(path for path in (self.folder / "src").iterdir() if path.is_dir())

    @property
    def import_name(self) -> str:
        """The name that it is imported under."""
        return self.source.name

    def rooms(self) -> set[str]:
        """Its modules and packages on the first level, as dotted names."""
        found = {path.stem for path in self.source.glob("*.py")}
        found |= {path.parent.name for path in self.source.glob("*/__init__.py")}
        return {f"{self.import_name}.{room}" for room in found if not room.startswith("__")}

    def modules(self) -> Iterator[Module]:
        """Every module, in the order of names."""
        for path in sorted(self.source.rglob("*.py")):
            parts = path.relative_to(self.source.parent).with_suffix("").parts
            yield Module(path, ".".join(parts).removesuffix(".__init__"))


def packages() -> list[Package]:
    """Every package of the workspace."""
    return [Package(path.parent) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]


def modules(folder: str) -> list[Module]:
    """Every Python file below a folder of the checkout."""
    return [Module(path, path.stem) for path in sorted((ROOT / folder).rglob("*.py"))]


def texts() -> Iterator[tuple[str, str]]:
    """Path and content of every text file that git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" not in data[:1024]:
            yield name, data.decode("utf-8")
