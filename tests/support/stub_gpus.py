"""NVIDIA's library for tests: nvml_stub.c compiled once a run, and the file that says what it tells.

The real pynvml loads the stub in whatever process starts with `StubGpus.env`.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["GPU_IS_LOST", "UNKNOWN_ERROR", "StubGpus", "build_stub", "gpu_id"]

GPU_IS_LOST = 15
UNKNOWN_ERROR = 999

_SOURCE = Path(__file__).with_name("nvml_stub.c")
_LIBRARY = "libnvidia-ml.so.1"


def build_stub(factory: pytest.TempPathFactory) -> Path:
    """The folder with the stub; the first call of a test run compiles it."""
    folder = factory.getbasetemp() / "nvml-stub"
    library = folder / _LIBRARY
    if not library.exists():
        if shutil.which("gcc") is None:
            pytest.skip("needs gcc, which compiles the stand-in of the NVIDIA library")
        folder.mkdir(exist_ok=True)
        options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{_LIBRARY}"]
        subprocess.run(["gcc", *options, "-o", str(library), str(_SOURCE)], check=True)
    return folder


def gpu_id(index: int) -> str:
    """The id that the stub gives a card unless it is told another."""
    return f"GPU-00000000-0000-0000-0000-{index:012d}"


class StubGpus:
    """Two cards: `gpus["gpu0.used"] = 8000` is seen by the very next call, in any process."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.env = {"LD_LIBRARY_PATH": str(folder), "NVML_STUB_STATE": str(state)}
        self.calls = state.with_suffix(".calls")
        self._state = state
        self._values: dict[str, str] = {}
        self._write()

    def __setitem__(self, key: str, value: object) -> None:
        self._values[key] = str(value)
        self._write()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._write()

    @contextmanager
    def world(self, **values: object) -> Iterator[None]:
        """Hold some keys for a while; `__` stands for the dot (gpu0__err=15)."""
        before = dict(self._values)
        self._values |= {key.replace("__", "."): str(value) for key, value in values.items()}
        self._write()
        try:
            yield
        finally:
            self._values = before
            self._write()

    def record_calls(self) -> None:
        """From now on `calls_of` can be asked."""
        self["log"] = self.calls

    def calls_of(self, function: str) -> int:
        """How often the library was asked this."""
        text = self.calls.read_text("utf-8") if self.calls.exists() else ""
        return text.splitlines().count(function)

    def _write(self) -> None:
        scratch = self._state.with_suffix(".new")
        scratch.write_text("".join(f"{key}={value}\n" for key, value in self._values.items()))
        scratch.replace(self._state)
