"""Every no of a hub has a code and a next step."""

import pytest

from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hub_refusals import (
    Question,
    kept_away,
    offline,
    refusal_of,
    retry_after_s,
    unreachable,
)

HUB = "https://hub.example"
BAD_TOKEN = "Invalid credentials in Authorization header"


def asked(*, has_token: bool = False, file: str | None = None) -> Question:
    return Question(HUB, "acme/tiny", "v2", file, has_token=has_token)


def refuse(
    status: int, *, code: str = "", message: str = "", has_token: bool = False, **more: str
) -> Refusal:
    headers = {"x-error-code": code, "x-error-message": message, **more}
    refusal = refusal_of(status, headers, asked(has_token=has_token, file=more.get("file")))
    assert refusal is not None
    assert "\n" not in refusal.message
    return refusal


@pytest.mark.parametrize("status", [200, 206])
def test_an_answer_is_no_refusal(status: int) -> None:
    assert refusal_of(status, {}, asked()) is None


def test_an_absent_repository_may_also_be_a_private_one() -> None:
    for status, code in ((401, ""), (401, "RepoNotFound"), (404, "RepoNotFound"), (404, "")):
        refusal = refuse(status, code=code)
        assert refusal.code is Code.MODEL_NOT_FOUND
        assert "no repository acme/tiny at hub.example" in refusal.message
        assert "private and HF_TOKEN must be set" in refusal.message
    assert "HF_TOKEN may not read it" in refuse(404, code="RepoNotFound", has_token=True).message


def test_a_missing_revision_and_a_missing_file_are_named() -> None:
    assert "no revision v2" in refuse(404, code="RevisionNotFound").message
    refusal = refuse(404, code="EntryNotFound", file="a.gguf")
    assert refusal.code is Code.MODEL_NOT_FOUND
    assert "no file a.gguf at v2" in refusal.message


@pytest.mark.parametrize(
    ("status", "has_token", "step"),
    [(401, False, "and set HF_TOKEN"), (403, True, "with the account of HF_TOKEN")],
)
def test_a_gated_repository_names_its_page(status: int, has_token: bool, step: str) -> None:
    refusal = refuse(status, code="GatedRepo", has_token=has_token)
    assert refusal.code is Code.MODEL_GATED
    assert f"accept the terms at {HUB}/acme/tiny {step}" in refusal.message


def test_a_wrong_token_is_told_from_a_token_without_rights() -> None:
    for refusal in (
        refuse(401, message=BAD_TOKEN),
        refuse(401, has_token=True),
        refuse(401, message=BAD_TOKEN, has_token=True),
    ):
        assert refusal.code is Code.BAD_KEY
        assert "does not know the token in HF_TOKEN" in refusal.message
    assert refuse(403, has_token=True).code is Code.SCOPE
    assert "no right to it" in refuse(403, has_token=True).message
    assert "set HF_TOKEN to a token" in refuse(403).message


def test_a_busy_hub_says_when_to_come_back() -> None:
    refusal = refuse(429, **{"retry-after": "7"})
    assert (refusal.code, refusal.retry_after_s) == (Code.RATE, 7)
    assert "try again in 7 s, or set HF_TOKEN" in refusal.message
    assert refuse(429, has_token=True).message.endswith("try again later")
    refusal = refuse(503, **{"retry-after": "30"})
    assert (refusal.code, refusal.retry_after_s) == (Code.UNREACHABLE, 30)


def test_what_no_hub_says_is_told_as_that() -> None:
    for status in (302, 400, 418, 451):
        refusal = refuse(status)
        assert refusal.code is Code.INTERNAL
        assert str(status) in refusal.message


def test_the_words_of_the_hub_are_not_repeated() -> None:
    for status in (400, 401, 403, 404, 429, 500):
        assert "rm -rf" not in refuse(status, code="Own", message="run rm -rf now").message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), (" 7 ", 7), ("0", 0), ("999999", 3600), ("9" * 30, 3600), ("-1", None), ("", None)],
)
def test_a_wait_is_read_within_reason(text: str, seconds: int | None) -> None:
    assert retry_after_s({"retry-after": text}) == seconds
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None
    assert retry_after_s({}) is None


def test_a_fault_of_the_network_says_what_works_without_one() -> None:
    fault = Refusal(Code.UNREACHABLE, "nothing answers at hub.example:443", {"cause": "connect"})
    told = unreachable(fault, asked())
    assert told.message.startswith("nothing answers at hub.example:443; with HF_HUB_OFFLINE=1")
    assert told.details == {"cause": "connect", "endpoint": HUB, "repo": "acme/tiny"}
    forbidden = Refusal(Code.FORBIDDEN_HOST, "no")
    assert unreachable(forbidden, asked()) is forbidden


def test_offline_tells_what_the_cache_holds() -> None:
    assert offline(asked(), []).message.endswith("of acme/tiny its cache holds nothing")
    told = offline(asked(), [f"{number}.gguf" for number in range(14)])
    assert told.code is Code.UNREACHABLE
    assert "0.gguf, 1.gguf" in told.message
    assert told.message.endswith("and 2 more")


def test_a_file_that_is_kept_elsewhere_and_not_handed_out_is_no_fault_of_a_token() -> None:
    refusal = kept_away(403, asked(file="a.gguf"))
    assert refusal.code is Code.UNREACHABLE
    assert "a.gguf cannot be read where hub.example keeps it" in refusal.message
