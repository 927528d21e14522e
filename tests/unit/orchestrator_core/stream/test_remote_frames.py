"""The words of remote-exec: found behind any noise, cut anywhere, and strict about the rest."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.stream.remote_frames import (
    BODY_BYTES_MAX,
    DATA_BYTES_MAX,
    MAGIC,
    FrameReader,
    Kind,
    MagicFinder,
    RemoteCall,
    frame,
    frames_of,
    number_of,
    read_request,
    request_body,
    travels,
)

WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
VARIABLE = st.from_regex(r"LLORCH_HOME|LC_[A-Z]{1,8}", fullmatch=True)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[left:right] for left, right in itertools.pairwise(edges)]


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50)), max_size=8),
    st.lists(st.integers(min_value=0), max_size=8),
)
def test_frames_come_back_however_they_are_cut(
    sent: list[tuple[Kind, bytes]], cuts: list[int]
) -> None:
    reader = FrameReader()
    data = b"".join(frame(kind, body) for kind, body in sent)
    found = [it for piece in pieces(data, cuts) for it in reader.feed(piece)]
    assert found == sent


@given(
    st.binary(max_size=60).filter(lambda noise: MAGIC not in noise + MAGIC[:-1]),
    st.binary(max_size=60),
    st.lists(st.integers(min_value=0), max_size=6),
)
def test_the_magic_is_found_behind_any_noise(noise: bytes, rest: bytes, cuts: list[int]) -> None:
    finder = MagicFinder()
    found = b"".join(finder.feed(piece) for piece in pieces(noise + MAGIC + rest, cuts))
    assert finder.found
    assert found == rest
    assert finder.preamble == noise


def test_noise_without_end_is_kept_only_in_part() -> None:
    finder = MagicFinder()
    for _ in range(40):
        assert finder.feed(b"x" * 10_000) == b""
    assert finder.end() == b"x" * 65_536


def test_what_came_instead_of_the_magic_is_told_to_the_last_byte() -> None:
    finder = MagicFinder()
    finder.feed(b"sh: 1: not found\n" + MAGIC[:4])
    assert finder.end() == b"sh: 1: not found\n" + MAGIC[:4]


@pytest.mark.parametrize(
    "data",
    [
        b"Z" + (0).to_bytes(4, "big"),
        Kind.STDOUT.value + (BODY_BYTES_MAX + 1).to_bytes(4, "big"),
        Kind.STDOUT.value + b"\xff\xff\xff\xff",
    ],
)
def test_what_is_no_frame_is_refused_before_it_fills_the_memory(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        FrameReader().feed(data)
    assert caught.value.code is Code.DATA_CORRUPT


def test_a_long_stream_is_cut_into_frames_that_fit() -> None:
    data = bytes(range(256)) * 1000
    sent = frames_of(Kind.STDIN, data)
    assert max(map(len, sent)) == DATA_BYTES_MAX + 5
    assert b"".join(body for _, body in FrameReader().feed(b"".join(sent))) == data


@given(st.lists(WORD, max_size=6), st.dictionaries(VARIABLE, WORD, max_size=4), st.none() | WORD)
def test_a_request_comes_back_as_it_was(
    argv: list[str], env: dict[str, str], cwd: str | None
) -> None:
    call = RemoteCall(tuple(argv), env, cwd)
    body = request_body(call)
    assert isinstance(body, bytes)
    assert body.isascii()
    assert read_request(body) == call


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (RemoteCall(("a\0b",)), "NUL"),
        (RemoteCall((), {"LC_X": "\0"}), "NUL"),
        (RemoteCall((), {"PATH": "/tmp"}), "'PATH'"),
        (RemoteCall((), {"LC_X=1\nLD_PRELOAD": "x"}), "travel"),
        (RemoteCall(("\ud800",)), "UTF-8"),
        (RemoteCall(("x" * BODY_BYTES_MAX,)), "bytes"),
    ],
)
def test_what_no_process_can_be_given_is_refused_before_it_is_sent(
    call: RemoteCall, words: str
) -> None:
    refusal = request_body(call)
    assert isinstance(refusal, Refusal)
    assert words in refusal.message
    assert refusal.message.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"argv": "ls"}',
        b'{"argv": [1]}',
        b'{"argv": ["a\\u0000b"]}',
        b'{"argv": [], "env": []}',
        b'{"argv": [], "env": {"LD_PRELOAD": "x"}}',
        b'{"argv": [], "env": {"LC_X": 1}}',
        b'{"argv": [], "cwd": 1}',
        b'{"argv": ' + b"[" * 100_000,
    ],
)
def test_a_request_that_is_none_is_refused(body: bytes) -> None:
    assert isinstance(read_request(body), Refusal)


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "PATH",
        "PYTHONPATH",
        "HOME",
        "",
        "llorch_home",
        "HF_TOKEN",
        "LLORCH_API_KEY",
        "LLORCH_POOL_BIND",
        "LC_TERMINAL_VERSION",
    ],
)
def test_only_named_variables_travel(name: str) -> None:
    assert not travels(name)
    assert travels("LLORCH_HOME")
    assert travels("LC_ALL")


@pytest.mark.parametrize("body", [b"", b"x", b"1.5", b"\xff"])
def test_a_number_is_a_number(body: bytes) -> None:
    assert number_of(b"130") == 130
    with pytest.raises(DataError):
        number_of(body)
