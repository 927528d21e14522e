"""The answer parser: what it reads, what it refuses and why, however the bytes are cut."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratord.upstream.http1 import Malformed, ResponseLimits, ResponseParser, Whole

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Answer:
    """What came out of a parser."""

    status: int = 0
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    verdict: Whole | Malformed | None = None
    calls: int = field(default=0, compare=False)
    parser: ResponseParser | None = field(default=None, compare=False)
    close_in: str = field(default="", compare=False)

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        assert self.status == 0
        self.status, self.headers = status, headers
        self._note("head")

    def data(self, body: bytes) -> None:
        assert body
        assert self.status
        self.body += body
        self.calls += 1
        self._note("data")

    def _note(self, call: str) -> None:
        if call == self.close_in and self.parser is not None:
            self.parser.close()


def parsed(pieces: Iterable[bytes], limits: ResponseLimits | None = None) -> Answer:
    answer = Answer()
    parser = ResponseParser(answer, limits or ResponseLimits())
    parser.expect()
    for piece in pieces:
        before = answer.calls
        verdict = parser.feed(piece)
        assert answer.calls <= before + 1
        if verdict is not None:
            assert answer.verdict is None
            answer.verdict = verdict
    eof = parser.feed_eof()
    answer.verdict = answer.verdict or eof
    assert parser.feed(b"later") is None
    return answer


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(at % (len(stream) + 1) for at in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.parametrize(
    ("stream", "status", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
        (OK + b"content-length:5\r\n\r\nhello", 200, b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", 200, b""),
        (OK + b"Content-Length: 2\r\n\r\nhi and bytes behind the end", 200, b"hi"),
        (OK + b"\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.0 500 Oh\r\n\r\nold", 500, b"old"),
        (b"HTTP/1.1 404\r\nContent-Length: 1\r\n\r\nx", 404, b"x"),
        (b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", 304, b""),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 200, b"hello"),
        (CHUNKED + b"0\r\n\r\n", 200, b""),
        (CHUNKED + b"0\r\n\r\ntrailing", 200, b""),
        (CHUNKED + b"00000002\r\nhi\r\n000\r\n\r\n", 200, b"hi"),
        (CHUNKED + b"2;a=b\r\nhi\r\n1 ; c\r\n!\r\n0;d\r\n\r\n", 200, b"hi!"),
        (CHUNKED + b"2\r\nhi\r\n0\r\nDigest: x\r\nB:\r\n\r\n", 200, b"hi"),
        (CHUNKED + b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789" * 2),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK + b"Content-Length: 1\r\n\r\nx", 200, b"x"),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200, b""),
    ],
)
def test_reads_a_whole_answer(stream: bytes, status: int, body: bytes) -> None:
    for pieces in ([stream], bytewise(stream)):
        answer = parsed(pieces)
        assert (answer.status, answer.body, answer.verdict) == (status, body, Whole.WHOLE)


def test_lowers_names_trims_values_and_joins_repeated_fields() -> None:
    head = b"X-A: \t 1 \t\r\nEmpty: \r\nx-a: 2\r\nUTF: \xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    assert parsed([OK + head]).headers == {
        b"x-a": b"1, 2",
        b"empty": b"",
        b"utf": b"\xc3\xa9",
        b"content-length": b"0",
    }


REFUSED = {
    "http2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed.NOT_HTTP),
    "http2-frame": (b"\0\0\x12\4\0\0\0\0\0", Malformed.NOT_HTTP),
    "tls": (b"\x15\3\1\0\2\2\x28", Malformed.NOT_HTTP),
    "http-0.9": (b"<html>hello</html>", Malformed.NOT_HTTP),
    "blank line first": (b"\r\n" + OK, Malformed.NOT_HTTP),
    "version 2": (b"HTTP/2 200\r\n\r\n", Malformed.NOT_HTTP),
    "version 1.2": (b"HTTP/1.2 200 OK\r\n\r\n", Malformed.STATUS_LINE),
    "lower case": (b"http/1.1 200 OK\r\n\r\n", Malformed.NOT_HTTP),
    "two spaces": (b"HTTP/1.1  200 OK\r\n\r\n", Malformed.STATUS_LINE),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", Malformed.STATUS_LINE),
    "nul in reason": (b"HTTP/1.1 200 O\0K\r\n\r\n", Malformed.STATUS_LINE),
    "status 099": (b"HTTP/1.1 099 No\r\n\r\n", Malformed.STATUS_RANGE),
    "status 600": (b"HTTP/1.1 600 No\r\n\r\n", Malformed.STATUS_RANGE),
    "upgrade": (b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n", Malformed.UPGRADE),
    "interim": (b"HTTP/1.1 103 Hint\r\n\r\n" * 9, Malformed.INTERIM),
    "lf only": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", Malformed.BARE_LF),
    "one lf": (OK + b"A: b\nC: d\r\n\r\n", Malformed.BARE_LF),
    "lf at the end": (OK + b"\n", Malformed.BARE_LF),
    "folded": (OK + b"A: b\r\n c\r\n\r\n", Malformed.FOLDED),
    "folded by tab": (OK + b"A: b\r\n\tc: d\r\n\r\n", Malformed.FOLDED),
    "space before colon": (OK + b"A : b\r\n\r\n", Malformed.HEADER),
    "no colon": (OK + b"A\r\n\r\n", Malformed.HEADER),
    "no name": (OK + b": b\r\n\r\n", Malformed.HEADER),
    "name not ascii": (OK + b"\xc3\xa9: b\r\n\r\n", Malformed.HEADER),
    "nul in value": (OK + b"A: b\0c\r\n\r\n", Malformed.HEADER),
    "cr in value": (OK + b"A: b\rc\r\n\r\n", Malformed.HEADER),
    "delete in value": (OK + b"A: b\x7fc\r\n\r\n", Malformed.HEADER),
    "many fields": (OK + b"A: b\r\n" * 101 + b"\r\n", Malformed.HEADER_COUNT),
    "long line": (OK + b"A: " + b"b" * 17000 + b"\r\n\r\n", Malformed.LINE_SIZE),
    "endless line": (OK + b"A: " + b"b" * 17000, Malformed.LINE_SIZE),
    "large head": (OK + (b"A: " + b"b" * 9000 + b"\r\n") * 8 + b"\r\n", Malformed.HEAD_SIZE),
    "endless head": (OK + (b"A: " + b"b" * 9000 + b"\r\n") * 8, Malformed.HEAD_SIZE),
    "both framings": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed.TWO_FRAMINGS,
    ),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", Malformed.LENGTH),
    "same length twice": (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", Malformed.LENGTH),
    "signed length": (OK + b"Content-Length: +5\r\n\r\n", Malformed.LENGTH),
    "negative length": (OK + b"Content-Length: -5\r\n\r\n", Malformed.LENGTH),
    "length list": (OK + b"Content-Length: 5, 5\r\n\r\n", Malformed.LENGTH),
    "empty length": (OK + b"Content-Length:\r\n\r\n", Malformed.LENGTH),
    "huge length": (OK + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", Malformed.LENGTH),
    "underscored length": (OK + b"Content-Length: 1_0\r\n\r\n", Malformed.LENGTH),
    "gzip": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", Malformed.CODING),
    "identity": (OK + b"Transfer-Encoding: identity\r\n\r\n", Malformed.CODING),
    "chunked twice": (OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", Malformed.CODING),
    "chunked twice in one": (
        OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        Malformed.CODING,
    ),
    "http/1.0 chunked": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Malformed.CODING,
    ),
    "no size": (CHUNKED + b"\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "size with x": (CHUNKED + b"0x2\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "signed size": (CHUNKED + b"+2\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "negative size": (CHUNKED + b"-2\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "underscored size": (CHUNKED + b"1_0\r\n0123456789abcdef\r\n", Malformed.CHUNK_SIZE),
    "size after space": (CHUNKED + b" 2\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "size before space": (CHUNKED + b"2 \r\nhi\r\n", Malformed.CHUNK_SIZE),
    "size not hex": (CHUNKED + b"2g\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "size of nine digits": (CHUNKED + b"000000002\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "size ends by lf": (CHUNKED + b"2\nhi\r\n0\r\n\r\n", Malformed.CHUNK_SIZE),
    "nul in extension": (CHUNKED + b"2;\0\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "lf in extension": (CHUNKED + b"2;a\nb\r\nhi\r\n", Malformed.CHUNK_SIZE),
    "long extension": (CHUNKED + b"2;" + b"a" * 300 + b"\r\nhi\r\n", Malformed.LINE_SIZE),
    "endless extension": (CHUNKED + b"2;" + b"a" * 300, Malformed.LINE_SIZE),
    "chunk too long": (CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", Malformed.CHUNK_END),
    "chunk ends by lf": (CHUNKED + b"2\r\nhi\n0\r\n\r\n", Malformed.CHUNK_END),
    "chunk ends by cr": (CHUNKED + b"2\r\nhi\r0\r\n\r\n", Malformed.CHUNK_END),
    "trailer without colon": (CHUNKED + b"0\r\nA\r\n\r\n", Malformed.TRAILER),
    "folded trailer": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", Malformed.TRAILER),
    "long trailer": (CHUNKED + b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n", Malformed.TRAILER_SIZE),
    "many trailers": (CHUNKED + b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n", Malformed.TRAILER_SIZE),
    "endless trailer": (CHUNKED + b"0\r\nA: " + b"b" * 9000, Malformed.TRAILER_SIZE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_a_malformed_answer_and_says_why(name: str) -> None:
    stream, reason = REFUSED[name]
    for pieces in ([stream], bytewise(stream), cut(stream, [5, 17, 40, 60])):
        assert parsed(pieces).verdict is reason


def test_every_reason_is_in_the_corpus() -> None:
    assert {reason for _, reason in REFUSED.values()} == set(Malformed) - {Malformed.UNASKED}


def test_refuses_bytes_that_come_before_the_request() -> None:
    parser = ResponseParser(Answer(), ResponseLimits())
    assert parser.feed(OK) is Malformed.UNASKED
    assert not parser.begun


@pytest.mark.parametrize("cut_at", [0, 1, 20, len(OK) + 20, -1])
@pytest.mark.parametrize("body", [b"Content-Length: 9\r\n\r\n12345678", CHUNKED[17:] + b"9\r\n12"])
def test_an_answer_that_is_cut_off_has_no_verdict(cut_at: int, body: bytes) -> None:
    assert parsed([(OK + body)[:cut_at]]).verdict is None


def test_delivers_what_came_before_a_fault() -> None:
    answer = parsed([CHUNKED + b"2\r\nhi\r\nxx\r\n"])
    assert (answer.body, answer.verdict) == (b"hi", Malformed.CHUNK_SIZE)


def test_joins_the_chunks_of_one_read_into_one_call() -> None:
    answer = parsed([CHUNKED, b"2\r\nhi\r\n" * 50, b"0\r\n\r\n"])
    assert (answer.body, answer.calls) == (b"hi" * 50, 1)


@pytest.mark.parametrize(("close_in", "body"), [("head", b""), ("data", b"hi")])
@pytest.mark.parametrize("rest", [b"2\r\nhi\r\n0\r\n\r\n", b"2\r\nhi\r\nxx\r\n"])
def test_a_close_from_inside_a_call_silences_the_rest(
    close_in: str, body: bytes, rest: bytes
) -> None:
    answer = Answer(close_in=close_in)
    answer.parser = parser = ResponseParser(answer, ResponseLimits())
    parser.expect()
    assert parser.feed(CHUNKED + rest) is None
    assert answer.body == body
    assert parser.feed(b"more") is None
    assert parser.feed_eof() is None


def test_a_small_limit_counts_alike_for_whole_and_cut_reads() -> None:
    limits = ResponseLimits(head_bytes=24, line_bytes=15, size_line_bytes=4, trailer_bytes=8)
    fits = b"HTTP/1.1 200 OK\r\nA: bcde\r\n\r\n"
    assert parsed([fits], limits) == parsed(bytewise(fits), limits)
    assert parsed([fits], limits).verdict is Whole.WHOLE
    wide = ResponseLimits(size_line_bytes=4, trailer_bytes=8)
    chunk = CHUNKED + b"2;ab\r\nhi\r\n0\r\nA: bcd\r\n\r\n"
    assert parsed([chunk], wide) == parsed(bytewise(chunk), wide)
    assert parsed([chunk], wide).verdict is Whole.WHOLE


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    """A valid answer, its status and its body."""
    status = draw(st.sampled_from([200, 201, 400, 503]))
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    fields = draw(st.sampled_from([b"", b"Server: x\r\n", b"A: \r\nB:c\r\n"]))
    head = interim + b"HTTP/1.1 %d Some\r\n" % status + fields
    body = b"".join(parts := draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6)))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, status, body
    if framing == "close":
        return head + b"\r\n" + body, status, body
    extension = draw(st.sampled_from([b"", b";x", b" ; a=b"]))
    trailer = draw(st.sampled_from([b"", b"Digest: x\r\n"]))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    stream = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"
    return stream, status, body


@given(answers(), st.lists(st.integers(0)))
def test_any_cut_of_a_valid_answer_gives_the_same(
    answer: tuple[bytes, int, bytes], cuts: list[int]
) -> None:
    stream, status, body = answer
    found = parsed(cut(stream, cuts))
    assert (found.status, found.body, found.verdict) == (status, body, Whole.WHOLE)
    assert found == parsed([stream])


damage = st.lists(
    st.tuples(st.integers(0), st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"0", b"f"])),
    min_size=1,
    max_size=3,
)


@given(answers(), damage, st.lists(st.integers(0)))
def test_a_damaged_answer_is_judged_alike_however_it_is_cut(
    answer: tuple[bytes, int, bytes], damages: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = answer[0]
    for where, what in damages:
        at = where % (len(stream) + 1)
        stream = stream[:at] + what + stream[at + 1 :]
    whole, pieces = parsed([stream]), parsed(cut(stream, cuts))
    assert (pieces.status, pieces.headers, pieces.body) == (
        whole.status,
        whole.headers,
        whole.body,
    )
    assert isinstance(pieces.verdict, Malformed) == isinstance(whole.verdict, Malformed)
    assert (pieces.verdict is Whole.WHOLE) == (whole.verdict is Whole.WHOLE)


@given(st.binary())
def test_noise_is_refused_or_incomplete_and_never_raises(noise: bytes) -> None:
    assert parsed([noise]).verdict in {None, Malformed.NOT_HTTP}
    assert parsed([CHUNKED, noise]).status == 200
