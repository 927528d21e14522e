"""What holds of every estimate, whatever the architecture and however large its numbers are."""

import json
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.model_info import CacheType
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.fit.devices import Target, judge_devices
from orchestrator_core.fit.estimate import Need, estimate
from orchestrator_core.fit.verdict import judge
from orchestrator_core.gguf.architectures import ENCODERS, KEEPS_NOTHING, KNOWN, SLIDING
from orchestrator_core.gguf.facts import ModelFacts, facts_of
from orchestrator_core.gguf.header import Header, parse_header
from orchestrator_core.units import GIB
from support.gguf_files import gguf_bytes

FOLDER = Path(__file__).parents[2] / "golden" / "fit"
GOLDENS = [json.loads(path.read_text("utf-8"))["values"] for path in sorted(FOLDER.glob("*.json"))]
ARCHITECTURES = sorted(KNOWN | ENCODERS | {"named-by-nobody-yet"})
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)
MOST_CTX, MOST_SLOTS = 4_194_304, 256

ctxs = st.integers(64, 200_000)
slots = st.integers(1, 64)


@st.composite
def models(draw: st.DrawFn) -> ModelFacts:
    """A measured model, now and then under the name of another architecture."""
    values = draw(st.sampled_from(GOLDENS))
    own = values["general.architecture"]
    name = draw(st.just(own) | st.sampled_from(ARCHITECTURES))
    renamed = {key.replace(f"{own}.", f"{name}.", 1): value for key, value in values.items()}
    defaults = {"general.name": None, "general.file_type": None, "tokenizer.ggml.tokens": None}
    header = parse_header(
        gguf_bytes(
            architecture=name,
            values=defaults | renamed | {"general.architecture": name},
            tensors=(),
        )
    )
    assert isinstance(header, Header)
    found = facts_of(header)
    assert isinstance(found, ModelFacts), found
    return found


def parts(need: Need) -> tuple[int, ...]:
    """What a need consists of."""
    kept = (need.kv_bytes, need.state_bytes)
    return (need.weights_bytes, *kept, need.compute_bytes, need.overhead_bytes)


@given(models(), ctxs, ctxs, slots, st.booleans(), st.booleans())
def test_a_longer_context_never_needs_less(
    facts: ModelFacts, one: int, other: int, parallel: int, embeds: bool, accelerated: bool
) -> None:
    short, long = (
        estimate(facts, ctx=ctx, parallel=parallel, embeds=embeds, accelerated=accelerated)
        for ctx in sorted((one, other))
    )
    assert all(less <= more for less, more in zip(parts(short), parts(long), strict=True))


@given(models(), ctxs, slots, slots, st.booleans())
def test_more_slots_never_need_less(
    facts: ModelFacts, ctx: int, one: int, other: int, embeds: bool
) -> None:
    few, many = (
        estimate(facts, ctx=ctx, parallel=each, embeds=embeds) for each in sorted((one, other))
    )
    assert all(less <= more for less, more in zip(parts(few), parts(many), strict=True))


@given(models(), ctxs, slots, st.sampled_from(CACHE_TYPES), st.sampled_from(CACHE_TYPES))
def test_a_need_is_the_sum_of_its_parts_and_none_is_negative(
    facts: ModelFacts, ctx: int, parallel: int, keys: CacheType, values: CacheType
) -> None:
    need = estimate(facts, ctx=ctx, parallel=parallel, cache_type_k=keys, cache_type_v=values)
    assert min(parts(need)) >= 0
    assert sum(parts(need)) == need.total_bytes
    assert 0 <= need.sure_bytes <= need.total_bytes


@given(models(), ctxs, slots)
def test_a_quantised_cache_never_needs_more(facts: ModelFacts, ctx: int, parallel: int) -> None:
    def kept(kind: CacheType) -> int:
        return estimate(
            facts, ctx=ctx, parallel=parallel, cache_type_k=kind, cache_type_v=kind
        ).kv_bytes

    assert kept("q4_0") <= kept("q8_0") <= kept("f16") <= kept("f32")


@given(models(), ctxs, slots, st.integers(0, 400), st.booleans())
def test_a_hint_names_what_does_fit(
    facts: ModelFacts, ctx: int, parallel: int, free_gib: int, embeds: bool
) -> None:
    target = Target("GPU-1", "Some card", Backend.CUDA, free_gib * GIB, 400 * GIB)

    def fit(tokens: int, count: int) -> bool:
        (found,) = judge_devices(facts, [target], ctx=tokens, parallel=count, embeds=embeds)
        return found.fits

    (judged,) = judge_devices(facts, [target], ctx=ctx, parallel=parallel, embeds=embeds)
    need = estimate(facts, ctx=ctx, parallel=parallel, embeds=embeds, accelerated=True)
    assert judged.fits == judge(need, free_bytes=target.free_bytes).fits
    for reason in judged.reasons:
        words = reason.split()
        if reason.endswith("would fit") and words[0] == "ctx":
            assert fit(int(words[1]), parallel)
        elif reason.endswith("would fit"):
            assert fit(int(words[4]), 1)
        elif reason.startswith("no context"):
            assert not fit(64, 1)


def test_no_header_makes_a_number_that_others_cannot_count_to() -> None:
    largest = {
        "block_count": 512,
        "context_length": 1 << 30,
        "embedding_length": 1 << 20,
        "feed_forward_length": 1 << 20,
        "attention.head_count": 1 << 4,
        "attention.head_count_kv": 1 << 4,
        "attention.key_length": 1 << 16,
        "attention.value_length": 1 << 16,
        "expert_used_count": 1 << 16,
        "vocab_size": 1 << 24,
        "ssm.inner_size": 1 << 20,
        "ssm.state_size": 1 << 12,
    }
    # A state as wide as the keys of that one would be damage.
    for name in set(ARCHITECTURES) - {"minimax-01"}:
        values = {f"{name}.{key}": value for key, value in largest.items()}
        header = parse_header(gguf_bytes(architecture=name, values=values))
        assert isinstance(header, Header)
        facts = facts_of(header)
        assert isinstance(facts, ModelFacts), (name, facts)
        for embeds in (False, True):
            need = estimate(
                facts,
                ctx=MOST_CTX,
                parallel=MOST_SLOTS,
                cache_type_k="f32",
                cache_type_v="f32",
                embeds=embeds,
            )
            assert need.total_bytes < 1 << 63, (name, need)


def test_an_architecture_stands_in_one_table_only() -> None:
    assert not KEEPS_NOTHING & set(SLIDING)
