"""The part of a file that a Range header names, held against slices of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.api.byte_ranges import Span, Unsatisfiable, span_of

CONTENT = bytes(range(100))
ETAG = '"v1"'


def part(wanted: str | None, if_range: str | None = None) -> bytes | None:
    span = span_of(wanted, if_range, size_bytes=len(CONTENT), etag=ETAG)
    return None if isinstance(span, Unsatisfiable) else CONTENT[span.start : span.end]


@given(start=st.integers(0, 99))
def test_from_a_byte_on(start: int) -> None:
    assert part(f"bytes={start}-") == CONTENT[start:]


@given(start=st.integers(0, 99), last=st.integers(0, 300))
def test_from_a_byte_to_a_byte(start: int, last: int) -> None:
    wanted = CONTENT[start : last + 1] if last >= start else CONTENT
    assert part(f"bytes={start}-{last}") == wanted


@given(count=st.integers(1, 300))
def test_the_last_bytes(count: int) -> None:
    assert part(f"bytes=-{count}") == CONTENT[-count:]


@given(start=st.integers(100, 10**17))
def test_behind_the_end_is_nothing(start: int) -> None:
    assert part(f"bytes={start}-") is None


@given(wanted=st.text(max_size=40))
def test_whatever_is_no_range_means_something_within_the_file(wanted: str) -> None:
    span = span_of(wanted, None, size_bytes=100, etag=ETAG)
    assert isinstance(span, Unsatisfiable) or 0 <= span.start < span.end <= 100


@pytest.mark.parametrize(
    "wanted", [None, "", "bytes=", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes=٣-"]
)
def test_what_cannot_be_read_means_the_whole(wanted: str | None) -> None:
    assert span_of(wanted, None, size_bytes=100, etag=ETAG) == Span(0, 100, is_part=False)


def test_a_part_of_another_version_means_the_whole() -> None:
    assert part("bytes=50-", ETAG) == CONTENT[50:]
    assert part("bytes=50-", '"v0"') == CONTENT


def test_an_empty_file_has_no_part() -> None:
    assert isinstance(span_of("bytes=0-", None, size_bytes=0, etag=ETAG), Unsatisfiable)
    assert isinstance(span_of("bytes=-1", None, size_bytes=0, etag=ETAG), Unsatisfiable)
    assert span_of(None, None, size_bytes=0, etag=ETAG) == Span(0, 0, is_part=False)
