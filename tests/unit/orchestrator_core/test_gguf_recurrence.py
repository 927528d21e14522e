import pytest

from orchestrator_core.gguf.attention import attention_of
from orchestrator_core.gguf.header import Items, Value
from orchestrator_core.gguf.keys import Keys, RangeError
from orchestrator_core.gguf.recurrence import State, state_of

SCANNED: dict[str, Value] = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 16,
    "ssm.group_count": 2,
}


def keys(architecture: str, values: dict[str, Value]) -> Keys:
    return Keys({f"{architecture}.{name}": value for name, value in values.items()}, architecture)


def kept(architecture: str, **values: Value) -> tuple[int, ...]:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return attention_of(keys(architecture, named), 4).kv_heads


HEADS = {"attention__head_count": 8, "attention__head_count_kv": 2}


@pytest.mark.parametrize(
    ("architecture", "values", "heads"),
    [
        ("mamba", HEADS, (0, 0, 0, 0)),
        ("falcon-h1", HEADS, (2, 2, 2, 2)),
        ("jamba", {"attention__head_count_kv": Items(4, (0, 0, 2, 0))}, (0, 0, 2, 0)),
        ("qwen3next", HEADS, (0, 0, 0, 2)),
        ("qwen35", HEADS | {"full_attention_interval": 2}, (0, 2, 0, 2)),
        ("minimax-01", HEADS, (0, 0, 0, 0)),
        (
            "qwen3next",
            HEADS | {"attention__recurrent_layers": Items(4, (0, 1, 1, 0))},
            (2, 0, 0, 2),
        ),
        ("qwen35", HEADS | {"nextn_predict_layers": 1}, (0, 0, 0, 0)),
    ],
)
def test_a_layer_with_a_state_keeps_no_heads_unless_it_has_both(
    architecture: str, values: dict[str, Value], heads: tuple[int, ...]
) -> None:
    assert kept(architecture, **values) == heads


def test_a_layer_without_heads_is_recurrent_only_where_it_is_bare() -> None:
    values: dict[str, Value] = {
        "attention.head_count_kv": Items(4, (0, 2, 0, 0)),
        "feed_forward_length": Items(4, (0, 0, 512, 0)),
    }
    assert attention_of(keys("nemotron_h", values), 4).recurrent_blocks == 2
    assert attention_of(keys("granitehybrid", values), 4).recurrent_blocks == 3


@pytest.mark.parametrize(
    ("architecture", "values", "state"),
    [
        ("mamba2", SCANNED, State(3, 3 * (128 + 2 * 2 * 16), 16 * 128, 128)),
        ("mamba", {**SCANNED, "ssm.group_count": None}, State(3, 3 * 128, 16 * 128, 128)),
        ("rwkv7", {"wkv.head_size": 32}, State(3, 2 * 64, 64 * 32, 3 * 64)),
        ("rwkv7", {"wkv.head_size": 32, "token_shift_count": 1}, State(3, 64, 64 * 32, 3 * 64)),
        ("lfm2", {"shortconv.l_cache": 3}, State(3, 2 * 64, 0, 64)),
        (
            "kimi-linear",
            {"kda.head_dim": 16, "ssm.conv_kernel": 4, "attention.head_count": 8},
            State(3, 3 * 3 * 128, 16 * 128, 128),
        ),
        ("minimax-01", {"attention.head_count": 8}, State(3, 0, 32 * 32 * 8, 256)),
    ],
)
def test_every_family_has_a_state_of_its_own(
    architecture: str, values: dict[str, Value], state: State
) -> None:
    assert state_of(keys(architecture, values), 3, 64, 32) == state
    assert state.elements == 3 * (state.shifted_elements + state.held_elements)


def test_a_header_that_keeps_silent_about_its_state_leaves_it_open() -> None:
    assert state_of(keys("mamba", {"ssm.inner_size": 128}), 3, 64, None) is None
    assert state_of(keys("mamba", SCANNED), 3, None, None) is None


def test_a_model_without_recurrent_layers_has_no_state() -> None:
    assert state_of(keys("llama", SCANNED), 0, 64, 32) is None


@pytest.mark.parametrize("name", ["ssm.inner_size", "ssm.state_size", "ssm.group_count"])
def test_a_state_beyond_all_reason_is_damage(name: str) -> None:
    with pytest.raises(RangeError, match=rf"2147483648 as mamba2\.{name}"):
        state_of(keys("mamba2", SCANNED | {name: 2**31}), 3, 64, None)


@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("mamba", SCANNED | {"ssm.inner_size": 1 << 20, "ssm.state_size": 1 << 20}),
        ("kimi-linear", {"kda.head_dim": 1 << 20, "attention.head_count": 64}),
        ("rwkv7", {"wkv.head_size": 1 << 20}),
    ],
)
def test_a_state_that_no_memory_holds_is_damage(
    architecture: str, values: dict[str, Value]
) -> None:
    with pytest.raises(RangeError, match=r"a state of \d+ numbers"):
        state_of(keys(architecture, values), 24, 1 << 20, 128)
