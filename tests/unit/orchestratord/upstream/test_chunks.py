"""What an engine's event says; whatever it holds, reading it never raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratord.upstream.chunks import read_chunk, read_error
from orchestratord.upstream.loose import (
    as_amount,
    as_count,
    as_int,
    as_object,
    as_objects,
    as_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "choices": JSON | st.lists(st.fixed_dictionaries({}, optional={
            "delta": JSON | st.fixed_dictionaries({}, optional={"content": JSON}),
            "text": JSON, "finish_reason": JSON,
        }), max_size=2),
        "usage": JSON, "timings": JSON, "error": JSON, "prompt_progress": JSON, "id": JSON,
    },
)  # fmt: skip


def choice(**fields: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, **fields}]}


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (choice(delta={"content": "Hi"}), {"text": "Hi", "has_choices": True}),
        (choice(text="Hi"), {"text": "Hi"}),
        (choice(delta={"content": None}), {"text": ""}),
        (choice(delta={"content": 5}), {"text": ""}),
        (choice(delta={}, finish_reason="stop"), {"finish_reason": "stop"}),
        (choice(delta={}, finish_reason=None), {"finish_reason": ""}),
        (choice(text="a", delta={"content": "b"}), {"text": "b"}),
        ({"choices": [], "usage": {"a": 1}}, {"usage": {"a": 1}, "has_choices": False}),
        ({"choices": [1, None]}, {"has_choices": False}),
        ({"choices": {}}, {"has_choices": False, "usage": None}),
        (choice(delta={}) | {"prompt_progress": {"n": 1}}, {"is_progress": True}),
        (choice(delta={}) | {"timings": [1]}, {"timings": None}),
    ],
)
def test_the_facts_of_a_chunk(body: object, facts: dict[str, object]) -> None:
    chunk = read_chunk(json.dumps(body).encode())
    assert chunk is not None
    assert {name: getattr(chunk, name) for name in facts} == facts
    assert chunk.error is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "no", "type": "t", "code": 400}, ("no", "t", 400)),
        ({"message": "no", "code": "x"}, ("no", "server_error", 500)),
        ({"code": True}, ("the engine reported an error", "server_error", 500)),
        ("no", ("no", "server_error", 500)),
        (None, ("the engine reported an error", "server_error", 500)),
        ([1], ("the engine reported an error", "server_error", 500)),
    ],
)
def test_an_error_is_read_in_any_shape(error: object, told: tuple[str, str, int]) -> None:
    found = read_error(error)
    assert (found.message, found.type, found.status) == told
    chunk = read_chunk(json.dumps({"error": error}).encode())
    assert chunk is not None
    assert chunk.error == found


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"5", b'"x"', b"null", b"\xff", b"[DONE]"])
def test_what_is_no_object_is_no_chunk(payload: bytes) -> None:
    assert read_chunk(payload) is None


@given(FIELDS)
def test_no_shape_of_an_event_raises(body: object) -> None:
    chunk = read_chunk(json.dumps(body).encode())
    if chunk is not None:
        assert isinstance(chunk.text, str)
        assert isinstance(chunk.finish_reason, str)


@given(JSON)
def test_loose_readers_take_anything(value: object) -> None:
    assert isinstance(as_text(value), str)
    assert isinstance(as_int(value), int)
    assert 0 <= as_count(value) <= 2**53
    assert 0 <= as_amount(value) <= 2**53
    assert isinstance(as_objects(value), list)
    assert as_object(value) is None or isinstance(value, dict)


@pytest.mark.parametrize(
    ("value", "count", "amount"),
    [
        (5, 5, 5.0), (0, 0, 0.0), (-1, 0, 0.0), (1.5, 0, 1.5), (True, 0, 0.0), ("5", 0, 0.0),
        (None, 0, 0.0), (2**53, 2**53, float(2**53)), (2**53 + 1, 0, 0.0), (1e300, 0, 0.0),
    ],
)  # fmt: skip
def test_numbers_are_believed_within_reason(value: object, count: int, amount: float) -> None:
    assert (as_count(value), as_amount(value)) == (count, amount)
