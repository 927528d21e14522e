"""Which row of the table a request means."""

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestratord.api.matching import Match, RouteMap, without_slash
from orchestratord.routes import ROUTES

MAP = RouteMap(ROUTES)


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_row_is_found_with_what_its_path_holds(row: object, slash: str) -> None:
    path = row.path.replace("{id}", "abc")  # type: ignore[attr-defined]
    match = MAP.find(row.method, path if path == "/" else path + slash)  # type: ignore[attr-defined]
    assert isinstance(match, Match)
    assert match.route is row
    assert match.params == ({"id": "abc"} if "{id}" in match.route.path else {})


def test_head_is_answered_by_the_row_of_get() -> None:
    match = MAP.find("HEAD", "/livez")
    assert isinstance(match, Match)
    assert match.route.handler == "health.live"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v2/tasks", "GET, POST"),
        ("POST", "/v2/tasks/x", "DELETE, GET"),
        ("GET", "/v2/pools/x/heartbeat", "POST"),
        ("HEAD", "/v1/chat/completions", "POST"),
        ("get", "/livez", "GET"),
    ],
)
def test_another_method_is_told_which_ones_there_are(method: str, path: str, allow: str) -> None:
    refusal = MAP.find(method, path)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.METHOD_NOT_ALLOWED
    assert refusal.details == {"allow": allow}


@pytest.mark.parametrize(
    "path",
    [
        "", "///", "/v2", "/v2/tasks//", "/v2/tasks//events", "/v2/tasks/a/b", "/V2/tasks",
        "/v2/tasks\n", "/livez/../metrics", "/v1/models/a//b", "/v1/models//a",
    ],
)  # fmt: skip
def test_anything_else_is_not_found(path: str) -> None:
    refusal = MAP.find("GET", path)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.NOT_FOUND


@pytest.mark.parametrize("path", ["/v1/models/hf:org/repo:Q4", "/v1/models/hf:org/repo:Q4/"])
def test_the_name_of_a_model_may_hold_slashes(path: str) -> None:
    match = MAP.find("GET", path)
    assert isinstance(match, Match)
    assert (match.route.handler, match.params) == ("openai.model", {"id": "hf:org/repo:Q4"})


def test_only_one_slash_is_forgiven() -> None:
    assert [without_slash(path) for path in ("/", "/a", "/a/", "/a//")] == ["/", "/a", "/a", "/a/"]
