"""Asks the embedded engine what well-known models take, and writes its numbers as goldens.

Every model is a sparse file with the real header and the real tensors, but without weights; the
engine loads it without allocating and logs the size of each buffer.

usage, at the root of the checkout: python -m tools.fit_goldens [MODEL ...]
A model goes by the name of its golden.
"""

import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TypeAlias, cast

from . import blocks, layouts  # noqa: TID252 - tools are no package that has a name

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("models.toml")
TARGET = ROOT / "tests" / "golden" / "fit"

TYPES = {"F32": (0, 1, 4), "Q8_0": (8, 32, 34)}
CACHES = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0", "q4_0": "GGML_TYPE_Q4_0"}
ALIGNMENT = 32
MIB = 1 << 20
LIMIT_S = 120
ATTEMPTS = 8

Settings: TypeAlias = "dict[str, Any]"

SETTINGS: tuple[Settings, ...] = (
    {"ctx": 4096, "parallel": 1, "batch_size": 256, "cache_type_k": "f16", "cache_type_v": "f16"},
    {"ctx": 32768, "parallel": 1, "batch_size": 512, "cache_type_k": "f16", "cache_type_v": "f16"},
    {"ctx": 8192, "parallel": 4, "batch_size": 256, "cache_type_k": "q8_0", "cache_type_v": "q8_0"},
    {"ctx": 2048, "parallel": 2, "batch_size": 2048, "cache_type_k": "f16", "cache_type_v": "f16"},
    {
        "ctx": 2048,
        "parallel": 2,
        "batch_size": 256,
        "cache_type_k": "f16",
        "cache_type_v": "f16",
        "embeds": True,
    },
)

SIZES = {
    "kv": re.compile(r"llama_kv_cache: size = +([\d.]+) MiB"),
    "state": re.compile(r"llama_memory_recurrent: size = +([\d.]+) MiB"),
    "compute": re.compile(r"compute buffer size = +([\d.]+) MiB"),
    "output": re.compile(r"output buffer size = +([\d.]+) MiB"),
}


@dataclass(frozen=True)
class Model:
    """A well-known model by the values of its header."""

    name: str
    architecture: str
    layout: str
    values: dict[str, blocks.Value]
    only_embeds: bool = False


def read_models() -> list[Model]:
    """All of the file beside this one."""
    return [Model(**model) for model in tomllib.loads(SOURCE.read_text("utf-8"))["model"]]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        kind, layout = (7, "?") if isinstance(items[0], bool) else (5, "i")
        return struct.pack(f"<IIQ{len(items)}{layout}", 9, kind, len(items), *items)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def header_values(model: Model) -> dict[str, object]:
    """The whole keys of the file; without a vocabulary the engine takes vocab_size."""
    own = {f"{model.architecture}.{name}": value for name, value in model.values.items()}
    types = {"tokenizer.ggml.token_type_count": 2} if model.only_embeds else {}
    vocabulary = {"tokenizer.ggml.model": "no_vocab", **types}
    return {"general.architecture": model.architecture, **own, **vocabulary}


def write_model(model: Model, path: Path) -> None:
    """A file whose data is one hole."""
    tensors: list[blocks.Tensor] = list(layouts.LAYOUTS[model.layout](blocks.Shape(model.values)))
    values = header_values(model)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(_text(key) + _value(value) for key, value in values.items())
    end = 0
    for name, shape, kind in tensors:
        number, block, size = TYPES[kind]
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, end)
        end += -(-(math.prod(shape) // block * size) // ALIGNMENT) * ALIGNMENT
    with path.open("wb") as target:
        target.write(head)
        target.truncate(-(-len(head) // ALIGNMENT) * ALIGNMENT + end)


def load(path: str, settings: Settings) -> None:
    """Runs in a process of its own: the engine logs, and may end the process as it likes."""
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.no_alloc = True
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.warmup = False
    params.fit_params = False
    params.cache_ram_mib = 0
    params.ui = False
    params.port = 0
    params.verbosity = 4
    params.n_gpu_layers = 0
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["ctx"] * settings["parallel"]
    params.n_batch = settings["batch_size"]
    params.n_ubatch = min(512, settings["batch_size"])
    if settings.get("embeds"):
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = max(settings["batch_size"], settings["ctx"])
    params.cache_type_k = getattr(xllamacpp.ggml_type, CACHES[str(settings["cache_type_k"])])
    params.cache_type_v = getattr(xllamacpp.ggml_type, CACHES[str(settings["cache_type_v"])])
    # Ended in any other way the server may hang.
    _server = xllamacpp.Server(params)
    sys.stderr.flush()
    os._exit(0)


def measure(path: Path, settings: Settings) -> dict[str, int]:
    """The engine's own numbers in bytes; its log has two digits behind the point of a MiB."""
    log = ""
    for _ in range(ATTEMPTS):
        log = logged(path, settings)
        # A model without memory lets the engine die soon after; its log is not always written by
        # then.
        if SIZES["compute"].search(log):
            break
    else:
        raise SystemExit(f"{path.name} {settings}:\n" + "\n".join(log.splitlines()[-25:]))
    found: dict[str, int] = {}
    for name, pattern in SIZES.items():
        sizes = [float(match.group(1)) for match in pattern.finditer(log)]
        found[f"{name}_bytes"] = round(sum(sizes) * MIB)
    return found


def logged(path: Path, settings: Settings) -> str:
    """Load once in a child process and return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.fit_goldens", "--load", str(path), json.dumps(settings)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
        check=False,
        cwd=ROOT,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    return done.stdout + done.stderr


def main() -> int:
    """Write one golden for each model that is named, or for all."""
    if sys.argv[1:2] == ["--load"]:
        load(sys.argv[2], json.loads(sys.argv[3]))
    wanted = set(sys.argv[1:])
    build = metadata.version("xllamacpp")
    for model in read_models():
        name = model.name.lower()
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.gguf"
            write_model(model, path)
            cases = [
                {"settings": each, "engine": measure(path, each)}
                for each in SETTINGS
                if each.get("embeds") or not model.only_embeds
            ]
        golden = {
            "like": model.name,
            "engine": f"xllamacpp {build}, CPU",
            "how": "python -m tools.fit_goldens: loaded without allocation, sizes from the engine's log",
            "values": header_values(model),
            "cases": cases,
        }
        text = json.dumps(golden, indent=1) + "\n"
        (TARGET / f"{name}.json").write_text(text, "utf-8")
        print(name, [case["engine"] for case in cases])
    return 0


if __name__ == "__main__":
    sys.exit(main())
