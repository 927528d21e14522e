import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_worker.engine.header import HeaderError, ModelFacts, read_facts
from support.worker_process import MODELS


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def u32(key: str, value: int) -> bytes:
    return pair(key, 4, struct.pack("<I", value))


def header(*pairs: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + b"".join(pairs)


def facts(data: bytes) -> ModelFacts:
    return read_facts(io.BytesIO(data))


def test_reads_the_real_models() -> None:
    with (MODELS / "tiny-chat.gguf").open("rb") as source:
        # 4 layers x 2 heads x (32 + 32) values of 2 bytes.
        assert read_facts(source) == ModelFacts("llama", 1024, 4, 1024)
    with (MODELS / "tiny-story.gguf").open("rb") as source:
        assert read_facts(source) == ModelFacts("llama", 1024, 2, 256)


def test_skips_lists_before_the_facts() -> None:
    words = struct.pack("<IQ", 8, 2) + text("a") + text("b")
    numbers = struct.pack("<IQ", 4, 3) + bytes(12)
    data = header(
        pair("tokenizer.ggml.tokens", 9, words),
        pair("x.list", 9, numbers),
        pair("general.architecture", 8, text("abc")),
        u32("abc.context_length", 77),
    )
    assert facts(data) == ModelFacts("abc", 77, None, None)


def test_heads_per_layer_give_no_estimate() -> None:
    per_layer = struct.pack("<IQ", 4, 2) + struct.pack("<II", 1, 0)
    data = header(
        pair("general.architecture", 8, text("abc")),
        u32("abc.block_count", 2),
        u32("abc.attention.head_count", 4),
        u32("abc.embedding_length", 64),
        pair("abc.attention.head_count_kv", 9, per_layer),
    )
    assert facts(data).kv_bytes_per_token is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GG",
        b"<!DOCTYPE html>",
        b"GGUF",
        header(version=99),
        header(version=1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62),
        header(pair("general.architecture", 8, struct.pack("<Q", 2**60))),
        header(pair("x", 9, struct.pack("<IQ", 8, 2**60))),
        header(pair("x", 9, struct.pack("<IQ", 9, 1))),
        header(pair("x", 77, b"")),
        header(u32("llama.context_length", 5)),
        header(pair("general.architecture", 8, text(""))),
    ],
)
def test_refuses_what_is_no_sound_header(data: bytes) -> None:
    with pytest.raises(HeaderError) as refused:
        facts(data)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=400))
def test_no_bytes_make_it_do_anything_but_refuse(tail: bytes) -> None:
    for data in (tail, b"GGUF" + tail, header() + tail):
        with pytest.raises(HeaderError):
            facts(data)
