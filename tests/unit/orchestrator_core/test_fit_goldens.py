"""Holds the estimates against what the embedded engine says of well-known models."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.fit.estimate import estimate
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Damaged, Header, parse_header
from orchestrator_core.units import MIB
from support.gguf_files import Value, gguf_bytes

FOLDER = Path(__file__).parents[2] / "golden" / "fit"
GOLDENS = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
CASES = [
    pytest.param(
        name,
        case,
        id=f"{name}, {', '.join(f'{key} {value}' for key, value in case['settings'].items())}",
    )
    for name, golden in sorted(GOLDENS.items())
    for case in golden["cases"]
]
# The engine's log has two digits behind the point of a MiB, for each of several buffers.
EXACT_BYTES = MIB // 10
CLOSE_BYTES, CLOSE_SHARE = MIB, 0.03
# Their widest moment has more parts than are worth a rule.
ROUGH = {"bge-small-en", "falcon-h1-1.5b", "gemma-4-e4b", "mamba2-2.7b", "nemotron-h-8b"}
ROUGH_BYTES, ROUGH_SHARE = 16 * MIB, 0.05


def judged(name: str, **forged: Value) -> ModelFacts | Damaged:
    """The facts of the model's header without its tensors, as a file would give them."""
    values: dict[str, Any] = GOLDENS[name]["values"] | forged
    architecture = values["general.architecture"]
    defaults = {"general.name": None, "general.file_type": None, "tokenizer.ggml.tokens": None}
    data = gguf_bytes(architecture=architecture, values=defaults | values, tensors=())
    header = parse_header(data)
    assert isinstance(header, Header)
    return facts_of(header)


def facts(name: str) -> ModelFacts:
    found = judged(name)
    assert isinstance(found, ModelFacts), found
    return found


@pytest.mark.parametrize(("name", "case"), CASES)
def test_an_estimate_is_what_the_engine_takes(name: str, case: dict[str, Any]) -> None:
    need, engine = estimate(facts(name), **case["settings"]), case["engine"]
    assert need.kv_bytes == pytest.approx(engine["kv_bytes"], abs=EXACT_BYTES)
    assert need.state_bytes == pytest.approx(engine["state_bytes"], abs=EXACT_BYTES)
    computed = engine["compute_bytes"] + engine["output_bytes"]
    close = (ROUGH_BYTES, ROUGH_SHARE) if name in ROUGH else (CLOSE_BYTES, CLOSE_SHARE)
    allowed = max(close[0], close[1] * computed)
    assert need.compute_bytes == pytest.approx(computed, abs=allowed)


@pytest.mark.parametrize("name", sorted(GOLDENS))
def test_the_rules_of_a_measured_model_are_known(name: str) -> None:
    assert facts(name).rules_known


def test_enough_architectures_are_held_fast() -> None:
    held = {golden["values"]["general.architecture"] for golden in GOLDENS.values()}
    assert len(held) >= 28


NUMBERS = st.sampled_from([0, 1, 2, 3, 255, 2**16, 2**20, 2**31, 2**40, -1]) | st.integers(0, 512)


@given(st.data())
def test_no_forged_header_makes_an_estimate_fail(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(GOLDENS)))
    keys = [key for key, value in GOLDENS[name]["values"].items() if not isinstance(value, str)]
    values = NUMBERS | st.booleans() | st.lists(NUMBERS.map(lambda n: n % 2**31), max_size=64)
    forged = data.draw(st.dictionaries(st.sampled_from(keys), values, min_size=1, max_size=4))
    found = judged(name, **forged)
    if isinstance(found, Damaged):
        assert found.reason.endswith("it is damaged")
        return
    need = estimate(found, ctx=4096, parallel=2, embeds=data.draw(st.booleans()))
    assert need.kv_bytes >= 0
    assert need.state_bytes >= 0
    assert need.sure_bytes <= need.total_bytes
