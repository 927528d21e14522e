"""Parses the worker's command line, which uses llama-server's names.

Only the shape is checked here (a wrong flag or a word for a number ends with exit code 2);
whether the values suit this host and this model is decided in engine.limits.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = ["POOLING", "Settings", "engine_version", "parse"]

POOLING: Final = ("none", "mean", "cls", "last", "rank")

_DEFAULT_BATCH: Final = 256
_DEFAULT_PING_S: Final = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """One worker's orders; ctx_size is the total over all slots."""

    model: Path
    host: str
    port: int
    ctx_size: int
    parallel: int
    batch_size: int
    ubatch_size: int
    threads: int | None
    gpu_layers: int
    alias: str
    api_key_file: Path
    embeddings: bool
    pooling: str | None
    sse_ping_interval_s: int


def engine_version() -> str:
    """The installed engine's version, read without loading the engine."""
    try:
        return metadata.version("xllamacpp")
    except metadata.PackageNotFoundError:
        return "not installed"


def _version_line() -> str:
    return f"llorch-worker {metadata.version('llorch-worker')} (xllamacpp {engine_version()})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llorch-worker",
        description="Hold one model and answer in llama-server's HTTP dialect.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=_version_line())
    add("--model", type=Path, required=True, metavar="FILE", help="the GGUF file")
    add("--alias", required=True, metavar="NAME", help="the model's name in every answer")
    add("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    add("--port", type=int, default=0, help="0 takes any free port (default: %(default)s)")
    add(
        "--ctx-size",
        type=int,
        required=True,
        metavar="TOKENS",
        help="context of all slots together",
    )
    add("--parallel", type=int, default=1, metavar="SLOTS", help="answers made at the same time")
    add(
        "--batch-size",
        type=int,
        default=_DEFAULT_BATCH,
        metavar="TOKENS",
        help="prompt tokens computed in one go; bounds how late a cancel is seen",
    )
    add("--ubatch-size", type=int, metavar="TOKENS", help="default: the batch size, at most 512")
    add("--threads", type=int, help="default: one per physical core")
    add(
        "--n-gpu-layers",
        type=int,
        default=0,
        metavar="N",
        help="layers that a GPU computes; more than the model has means all (default: none)",
    )
    add(
        "--api-key-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="keys that callers must present, one a line; readable by its owner alone",
    )
    add("--metrics", action="store_true", help="accepted for compatibility: always on")
    add("--embeddings", action="store_true", help="answer embedding requests")
    add("--pooling", choices=POOLING, help="how token vectors become one; rank scores documents")
    add(
        "--sse-ping-interval",
        type=int,
        default=_DEFAULT_PING_S,
        metavar="SECONDS",
        help="a silent stream carries a comment this often (default: %(default)s)",
    )
    return parser


def parse(argv: Sequence[str]) -> Settings:
    """Read a command line; leaves with 0 for --help and --version and with 2 for bad usage."""
    args = _parser().parse_args(argv)
    batch = int(args.batch_size)
    return Settings(
        model=args.model,
        host=args.host,
        port=args.port,
        ctx_size=args.ctx_size,
        parallel=args.parallel,
        batch_size=batch,
        ubatch_size=min(batch, 512) if args.ubatch_size is None else args.ubatch_size,
        threads=args.threads,
        gpu_layers=args.n_gpu_layers,
        alias=args.alias,
        api_key_file=args.api_key_file,
        embeddings=args.embeddings,
        pooling=args.pooling,
        sse_ping_interval_s=args.sse_ping_interval,
    )
