from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code
from pool_core.fetch.ranges import (
    Answer,
    Changed,
    Complete,
    Held,
    Refuse,
    Renew,
    Retry,
    Take,
    judge,
)

SHA = "a" * 64
OTHER_SHA = "b" * 64
HELD = Held(path="tiny.gguf", offset=40, size_bytes=100, sha256=SHA, etag='"one"')


def answer(
    status: int,
    headers: Mapping[str, str] | None = None,
    *,
    hub_headers: Mapping[str, str] | None = None,
    hops: int = 1,
) -> Answer:
    return Answer("cdn.example", status, headers or {}, hub_headers or {}, hops)


def part(text: str, **headers: str) -> Answer:
    return answer(206, {"content-range": text} | headers)


def test_the_rest_is_appended() -> None:
    assert judge(HELD, part("bytes 40-99/100")) == Take(40)


def test_a_shorter_part_than_asked_for_is_appended_too() -> None:
    assert judge(HELD, part("bytes 40-59/100")) == Take(40)


@pytest.mark.parametrize(
    "text",
    [
        "bytes 0-99/100",
        "bytes 41-99/100",
        "bytes 40-99/101",
        "bytes 40-100/100",
        "bytes 40-39/100",
        "bytes 40-99/*",
        "items 40-99/100",
        "bytes 40-99/100, 1-2/100",
        "",
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_never_appended(text: str) -> None:
    assert isinstance(judge(HELD, part(text)), Changed)


def test_a_whole_answer_begins_anew() -> None:
    assert judge(HELD, answer(200, {"content-length": "100"})) == Take(0)
    assert judge(HELD, answer(200)) == Take(0)


def test_a_whole_answer_of_another_length_is_another_content() -> None:
    assert isinstance(judge(HELD, answer(200, {"content-length": "99"})), Changed)


@pytest.mark.parametrize("status", [200, 206])
def test_a_page_for_people_is_no_content(status: int) -> None:
    headers = {"content-type": "Text/HTML; charset=utf-8", "content-length": "100"}
    assert isinstance(judge(HELD, answer(status, headers)), Retry)


@pytest.mark.parametrize("status", [200, 206])
def test_a_packed_body_is_no_content(status: int) -> None:
    assert isinstance(judge(HELD, answer(status, {"content-encoding": "gzip"})), Retry)


def test_another_version_is_never_appended_to_this_one() -> None:
    assert isinstance(judge(HELD, part("bytes 40-99/100", etag='"two"')), Changed)
    assert judge(HELD, part("bytes 40-99/100", etag='"one"')) == Take(40)
    assert judge(replace(HELD, etag=None), part("bytes 40-99/100", etag='"two"')) == Take(40)


def test_a_hub_that_vouches_for_the_content_outweighs_the_name_of_a_version() -> None:
    vouched = replace(
        part("bytes 40-99/100", etag='"two"'), hub_headers={"x-linked-etag": f'"{SHA}"'}
    )
    assert judge(HELD, vouched) == Take(40)
    assert isinstance(judge(replace(HELD, sha256=None), vouched), Changed)


@pytest.mark.parametrize("status", [200, 206])
def test_a_hub_that_has_another_content_by_now_is_refused_and_nothing_is_lost(status: int) -> None:
    headers = {"content-range": "bytes 40-99/100"}
    verdict = judge(HELD, answer(status, headers, hub_headers={"x-linked-etag": f'"{OTHER_SHA}"'}))
    assert isinstance(verdict, Refuse)
    assert verdict.refusal.code is Code.CONFLICT


def test_nothing_beyond_the_end_means_that_all_is_here() -> None:
    whole = replace(HELD, offset=100)
    assert judge(whole, answer(416, {"content-range": "bytes */100"})) == Complete()
    assert judge(whole, answer(416)) == Complete()
    assert isinstance(judge(whole, answer(416, {"content-range": "bytes */90"})), Changed)
    assert isinstance(judge(HELD, answer(416, {"content-range": "bytes */100"})), Changed)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_ran_out_is_renewed(status: int) -> None:
    assert isinstance(judge(HELD, answer(status)), Renew)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, Code.MODEL_NOT_FOUND),
        (403, Code.MODEL_GATED),
        (404, Code.MODEL_NOT_FOUND),
        (410, Code.MODEL_NOT_FOUND),
        (451, Code.UNREACHABLE),
        (400, Code.UNREACHABLE),
    ],
)
def test_the_hub_s_own_no_is_a_no(status: int, code: Code) -> None:
    verdict = judge(HELD, answer(status, hops=0))
    assert isinstance(verdict, Refuse)
    assert verdict.refusal.code is code


def test_closed_terms_are_told_from_a_bad_token() -> None:
    verdict = judge(HELD, answer(401, {"x-error-code": "GatedRepo"}, hops=0))
    assert isinstance(verdict, Refuse)
    assert verdict.refusal.code is Code.MODEL_GATED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    assert isinstance(judge(HELD, answer(status)), Retry)


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"retry-after": "7"}, 7.0),
        (
            {
                "retry-after": "Sat, 01 Aug 2026 10:00:30 GMT",
                "date": "Sat, 01 Aug 2026 10:00:00 GMT",
            },
            30,
        ),
        (
            {
                "retry-after": "Sat, 01 Aug 2026 09:00:00 GMT",
                "date": "Sat, 01 Aug 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "Sat, 01 Aug 2026 10:00:30 GMT"}, None),
        ({"retry-after": "soon", "date": "Sat, 01 Aug 2026 10:00:00 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": f"Sat, 01 Aug 2026 10:00:30 +{'9' * 18}"}, None),
        ({"retry-after": "9" * 40}, None),
        ({}, None),
    ],
)
def test_the_time_that_a_server_asks_for_is_read(
    headers: dict[str, str], after_s: float | None
) -> None:
    verdict = judge(HELD, answer(429, headers))
    assert isinstance(verdict, Retry)
    assert (verdict.after_s, verdict.code) == (after_s, Code.RATE)


header_texts = st.text(max_size=40) | st.sampled_from(["bytes 40-99/100", "100", '"one"', "7"])
names = st.sampled_from(
    ["content-range", "content-length", "content-type", "etag", "retry-after", "date"]
)


@given(
    st.integers(100, 599),
    st.dictionaries(names, header_texts, max_size=4),
    st.integers(0, 100),
    st.integers(0, 5),
)
def test_nothing_is_ever_appended_but_where_we_are_or_at_the_beginning(
    status: int, headers: dict[str, str], offset: int, hops: int
) -> None:
    verdict = judge(replace(HELD, offset=offset), answer(status, headers, hops=hops))
    assert not isinstance(verdict, Take) or verdict.start in (0, offset)
    assert not isinstance(verdict, Complete) or offset == HELD.size_bytes
