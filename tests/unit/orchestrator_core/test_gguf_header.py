import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.gguf.cursor import Walked
from orchestrator_core.gguf.header import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    Damaged,
    Header,
    Items,
    More,
    parse_header,
)
from support.gguf_files import DEFAULT_TENSORS, Raw, Tensor, gguf_bytes
from support.worker_process import MODELS

REAL = (MODELS / "tiny-story.gguf").read_bytes()[:FIRST_READ_BYTES]
REAL_HEADER_BYTES = 13_280


def parsed(data: bytes) -> Header:
    header = parse_header(data)
    assert isinstance(header, Header), header
    return header


def reason(data: bytes) -> str:
    damage = parse_header(data)
    assert isinstance(damage, Damaged), damage
    assert damage.reason.isprintable()
    return damage.reason


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def start(tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def test_scalars_short_texts_and_short_lists_of_numbers_are_kept() -> None:
    header = parsed(
        gguf_bytes(
            values={
                "x.whole": 7,
                "x.negative": -7,
                "x.large": 2**40,
                "x.real": 0.5,
                "x.flag": True,
                "x.text": "short",
                "x.heads": [8, 0, 4],
                "x.flags": [True, False],
                "x.empty": [],
            }
        )
    )
    assert header.values["x.whole"] == 7
    assert header.values["x.negative"] == -7
    assert header.values["x.large"] == 2**40
    assert header.values["x.real"] == 0.5
    assert header.values["x.flag"] is True
    assert header.values["x.text"] == "short"
    assert header.values["x.heads"] == Items(3, (8, 0, 4))
    assert header.values["x.flags"] == Items(2, (True, False))
    assert header.values["x.empty"] == Items(0, ())


def test_of_vocabularies_long_lists_and_long_texts_only_the_presence_is_kept() -> None:
    header = parsed(
        gguf_bytes(
            values={
                "tokenizer.ggml.tokens": ["a", "b", "c"],
                "tokenizer.ggml.scores": [0.5, 0.25],
                "tokenizer.chat_template": "x" * 257,
                "x.long": [1] * 1025,
            }
        )
    )
    assert header.values["tokenizer.ggml.tokens"] == Items(3)
    assert header.values["tokenizer.ggml.scores"] == Items(2)
    assert header.values["x.long"] == Items(1025)
    assert header.values["tokenizer.chat_template"] is None


def test_the_kept_numbers_of_many_lists_are_bounded_together() -> None:
    header = parsed(gguf_bytes(values={f"x.{number}": [1] * 1024 for number in range(70)}))
    lists = [value for value in header.values.values() if isinstance(value, Items)]
    kept = sum(len(value.numbers) for value in lists if value.numbers is not None)
    assert kept == 64 * 1024


def test_tensors_are_placed_and_sized_by_their_type() -> None:
    header = parsed(gguf_bytes())
    sizes = {tensor.name: tensor.size_bytes for tensor in header.tensors}
    assert sizes == {tensor.name: tensor.data_bytes for tensor in DEFAULT_TENSORS}
    assert header.data_offset % 32 == 0
    assert header.tensors[0].offset == 0


def test_a_tensor_of_an_unknown_type_is_no_damage_but_has_no_size() -> None:
    header = parsed(gguf_bytes(tensors=[Tensor("new.weight", (64,), kind=99)]))
    assert header.tensors[0].size_bytes is None


def test_an_alignment_of_its_own_moves_the_data() -> None:
    data = gguf_bytes(values={"general.alignment": 4096}, alignment=4096)
    header = parsed(data)
    assert header.data_offset % 4096 == 0
    assert header.data_offset >= 4096


def test_version_2_is_read_too() -> None:
    assert parsed(gguf_bytes(version=2)).version == 2


def test_more_is_asked_for_until_the_header_is_whole() -> None:
    data = gguf_bytes(values={"tokenizer.ggml.tokens": [f"word {n}" for n in range(20_000)]})
    size, rounds = 0, 0
    while isinstance(answer := parse_header(data[:size]), More):
        assert size < answer.needed_bytes <= len(data)
        size = max(2 * size, answer.needed_bytes)
        rounds += 1
    assert isinstance(answer, Header)
    assert rounds < 25


def test_a_vocabulary_that_was_stepped_over_is_not_stepped_over_again() -> None:
    data = gguf_bytes(values={"tokenizer.ggml.tokens": [f"word {n}" for n in range(20_000)]})
    begin = data.index(b"word 0")
    walked: Walked = {}
    cut = begin + 250_000
    assert isinstance(parse_header(data[:cut], walked), More)
    # Whoever looked at these bytes again would take them for lengths beyond all bounds.
    spoilt = data[:begin] + b"\xff" * (cut - 100 - begin) + data[cut - 100 :]
    assert parse_header(spoilt, walked) == parse_header(data)
    assert isinstance(parse_header(spoilt), Damaged)


def test_a_view_is_as_good_as_bytes() -> None:
    assert parse_header(memoryview(REAL)) == parse_header(REAL)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GGML" + bytes(40), "it is not a GGUF file"),
        (b"x", "it is not a GGUF file"),
        (b"<!DOCTYPE html><html>", "it is a web page, not a model: the download went wrong"),
        (b"\xef\xbb\xbf \n<HTML lang=en>", "it is a web page"),
        (b"<!-- hello --><!doctype HTML>", "it is a web page"),
        (b"<model>", "it is not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "it is a Git LFS pointer"),
        (start(version=1), "GGUF version 1 is not supported"),
        (start(version=99), "GGUF version 99 is not supported"),
        (gguf_bytes(big_endian=True), "it is big-endian: GGUF version 3 is not supported"),
        (start(tensors=2**63), f"{2**63} tensors: it is damaged"),
        (start(keys=2**63), f"{2**63} keys: it is damaged"),
        (start(keys=1) + struct.pack("<Q", 2**62) + bytes(40), "a key of"),
        (start(keys=1) + struct.pack("<Q", 1) + b"\xff" + bytes(40), "is not text"),
    ],
)
def test_what_is_no_sound_header_is_named(data: bytes, words: str) -> None:
    assert words in reason(data)


@pytest.mark.parametrize(
    "value",
    [
        Raw(77, b""),
        Raw(8, struct.pack("<Q", 2**60)),
        Raw(8, struct.pack("<Q", 2**64 - 1)),
        Raw(9, struct.pack("<IQ", 8, 2**60)),
        Raw(9, struct.pack("<IQ", 4, 2**60)),
        Raw(9, struct.pack("<IQQ", 8, 2, 2**63) + bytes(64)),
        Raw(9, struct.pack("<IQ", 9, 1)),
        Raw(9, struct.pack("<IQ", 77, 1)),
    ],
)
def test_a_forged_value_is_damage(value: Raw) -> None:
    assert "it is damaged" in reason(gguf_bytes(values={"x.forged": value}))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", (64,), offset=33),
        Tensor("x", (64,), offset=2**63),
        Tensor("x", (64,), kind=256),
        Tensor("x", (1, 1, 1, 1, 1)),
        Tensor("x", (0, 64)),
        Tensor("x", (2**62, 2**62)),
        Tensor("x", (33, 2), "Q8_0", offset=0),
        Tensor("x" * 257, (64,)),
    ],
)
def test_a_forged_tensor_is_damage(tensor: Tensor) -> None:
    assert isinstance(parse_header(_with_tensor(Tensor("fine", (4,)))), Header)
    assert "it is damaged" in reason(_with_tensor(tensor))


def _with_tensor(tensor: Tensor) -> bytes:
    # The data of a forged tensor is never written: it would be larger than any disk.
    kind = {"F32": 0, "Q8_0": 8}[tensor.type] if tensor.kind is None else tensor.kind
    info = text(tensor.name) + struct.pack("<I", len(tensor.shape))
    info += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
    info += struct.pack("<IQ", kind, tensor.offset or 0)
    pair = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    return start(tensors=1, keys=1) + pair + info + bytes(64)


@pytest.mark.parametrize("alignment", [0, 3, 2**31, -8, 0.5, "x"])
def test_a_senseless_alignment_is_damage(alignment: float | str) -> None:
    assert "alignment" in reason(gguf_bytes(values={"general.alignment": alignment}))


def test_a_key_that_stands_there_twice_is_damage() -> None:
    pair = text("x\n") + struct.pack("<IB", 0, 1)
    assert r"'x\n' twice" in reason(start(keys=2) + pair + pair)


def test_a_tensor_that_stands_there_twice_is_damage() -> None:
    assert "twice" in reason(gguf_bytes(tensors=[Tensor("a", (4,)), Tensor("a", (4,))]))


def test_no_declared_length_asks_for_more_than_the_largest_header() -> None:
    fits = start(keys=1) + text("x") + struct.pack("<IQ", 8, MAX_HEADER_BYTES // 2)
    more = parse_header(fits)
    assert isinstance(more, More)
    assert more.needed_bytes <= MAX_HEADER_BYTES
    too_long = start(keys=1) + text("x") + struct.pack("<IQ", 8, MAX_HEADER_BYTES)
    assert "it is damaged" in reason(too_long)


@pytest.mark.parametrize("name", ["tiny-chat", "tiny-story"])
def test_every_truncation_of_a_real_header_asks_for_more(name: str) -> None:
    data = Path(MODELS / f"{name}.gguf").read_bytes()[:FIRST_READ_BYTES]
    whole = parse_header(data)
    assert isinstance(whole, Header)
    for size in range(0, whole.data_offset - 32, 97):
        answer = parse_header(data[:size])
        assert isinstance(answer, More)
        assert size < answer.needed_bytes <= whole.data_offset


@given(st.data())
def test_flipped_and_cut_headers_give_an_answer_and_never_an_error(data: st.DataObject) -> None:
    changed = bytearray(REAL)
    places = st.integers(0, REAL_HEADER_BYTES - 1)
    flips = data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=24))
    for place, value in flips:
        changed[place] = value
    size = data.draw(st.integers(0, len(changed)))
    answer = parse_header(bytes(changed[:size]))
    if isinstance(answer, More):
        assert size < answer.needed_bytes <= MAX_HEADER_BYTES
    elif isinstance(answer, Damaged):
        assert answer.reason.isprintable()


@given(st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_header_by_accident(tail: bytes) -> None:
    for data in (tail, b"GGUF" + tail, start(keys=3) + tail, start(tensors=3) + tail):
        assert isinstance(parse_header(data), More | Damaged | Header)
