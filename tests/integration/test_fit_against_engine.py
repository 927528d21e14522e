"""The estimates against the embedded engine itself, started just as a worker starts it."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from orchestrator_core.contracts.model_info import CacheType
from orchestrator_core.fit.estimate import Need, estimate
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Header, parse_header
from orchestrator_core.units import MIB
from support.worker_process import MODELS, write_key

pytestmark = pytest.mark.e2e

# The engine says what it takes only to those who ask for more than errors, and knows other kinds
# of caches than a worker offers today.
ENGINE = """
import os, sys
import xllamacpp
from llorch_worker import settings
from llorch_worker.engine import embedded

kinds = sys.argv[1:3]
server = xllamacpp.Server

def talkative(params):
    params.verbosity = 4
    keys, values = (getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind.upper()}") for kind in kinds)
    params.cache_type_k, params.cache_type_v = keys, values
    return server(params)

xllamacpp.Server = talkative
engine = embedded.start(settings.parse(sys.argv[3:]), ("a-key-that-nobody-uses",), 1)
sys.stdin.read()
os._exit(0)
"""
# A thread of the engine's own writes its log, and this is the last line of a start.
STARTED = "listening on"
SIZES = re.compile(r"(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
EXACT_MIB = 0.1
CLOSE_MIB = 16


@dataclass(frozen=True)
class Case:
    """One way to start a worker; ctx is per slot."""

    model: str
    ctx: int
    parallel: int = 1
    batch_size: int = 256
    keys: CacheType = "f16"
    values: CacheType = "f16"
    embeds: bool = False


CASES = [
    Case("tiny-chat", 1024),
    Case("tiny-chat", 1000, parallel=3),
    Case("tiny-chat", 1024, parallel=16, batch_size=512),
    Case("tiny-chat", 1024, parallel=4, keys="q8_0", values="q8_0"),
    Case("tiny-chat", 512, parallel=2, embeds=True),
    Case("tiny-story", 1024, parallel=64),
    Case("tiny-story", 256, batch_size=2048, keys="q8_0"),
    Case("tiny-story", 64, batch_size=32),
]


def log_of(argv: list[str], env: dict[str, str]) -> str:
    """What an engine says until it listens, or until its end."""
    lines: list[str] = []
    with subprocess.Popen(
        argv, env=env, stdin=PIPE, stdout=PIPE, stderr=STDOUT, text=True
    ) as engine:
        assert engine.stdout is not None
        for line in engine.stdout:
            lines.append(line)
            if STARTED in line:
                break
        engine.kill()
    return "".join(lines)


def reported(case: Case, folder: Path) -> dict[str, float]:
    """What the engine says of each of its buffers, in MiB."""
    batch = max(case.batch_size, case.ctx) if case.embeds else case.batch_size
    argv = [sys.executable, "-c", ENGINE, case.keys, case.values]
    argv += ["--model", str(MODELS / f"{case.model}.gguf"), "--alias", case.model]
    argv += ["--ctx-size", str(case.ctx * case.parallel), "--parallel", str(case.parallel)]
    argv += ["--batch-size", str(batch), "--api-key-file", str(write_key(folder))]
    if case.embeds:
        argv += ["--ubatch-size", str(batch), "--embeddings", "--pooling", "mean"]
    log = log_of(argv, {"PATH": os.environ["PATH"], "HOME": str(folder)})
    found: dict[str, float] = {}
    for name, size in SIZES.findall(log):
        found[name] = found.get(name, 0.0) + float(size)
    assert {"model", "KV", "compute"} <= set(found), log[-2000:]
    return found


def estimated(case: Case) -> Need:
    header = parse_header((MODELS / f"{case.model}.gguf").read_bytes())
    assert isinstance(header, Header)
    facts = facts_of(header)
    assert isinstance(facts, ModelFacts)
    return estimate(
        facts,
        ctx=case.ctx,
        parallel=case.parallel,
        batch_size=case.batch_size,
        cache_type_k=case.keys,
        cache_type_v=case.values,
        embeds=case.embeds,
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_estimate_is_what_the_engine_says_it_takes(case: Case, tmp_path: Path) -> None:
    engine, need = reported(case, tmp_path), estimated(case)
    assert need.kv_bytes / MIB == pytest.approx(engine["KV"], abs=EXACT_MIB)
    assert need.weights_bytes / MIB == pytest.approx(engine["model"], abs=EXACT_MIB)
    buffers = engine["compute"] + engine.get("output", 0.0)
    assert need.compute_bytes / MIB == pytest.approx(buffers, rel=0.05, abs=0.5)
    whole = (need.total_bytes - need.overhead_bytes) / MIB
    assert whole == pytest.approx(sum(engine.values()), rel=0.05, abs=CLOSE_MIB)
