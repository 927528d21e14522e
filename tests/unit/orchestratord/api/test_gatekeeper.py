"""Hosts, origins, keys and scopes: who may pass."""

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId
from orchestratord.api.gatekeeper import Gatekeeper, correlation_id_from
from orchestratord.routes import ROUTES, Scope
from orchestratord.runtime.keyring import KeyRing, Principal, key_hash


def keeper(*hosts: str, scopes: tuple[str, ...] = ("user",)) -> Gatekeeper:
    keys = KeyRing()
    keys.add(key_hash("token"), Principal(KeyId("key_1"), "me", frozenset(scopes)))
    return Gatekeeper(keys, hosts)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "localhost:8080", "localhost:", "127.0.0.1", "127.0.0.1:1",
        "[::1]", "[::1]:8080", "box", "BOX:99", "box.local", "my_box:8080",
    ],
)  # fmt: skip
def test_our_own_names_pass_with_any_port(host: str) -> None:
    assert keeper("box", "Box.Local", "my_box").check_host(host, None) is None


@pytest.mark.parametrize(
    "host",
    [
        None, "", " ", "evil.example", "evil.example:8080", "localhost.evil.example",
        "evil.example#localhost", "evil.example?localhost", "evil.example/localhost",
        "localhost/", "localhost/x", "localhost?x", "localhost#x", "localhost.", "box.",
        "user@localhost", "user:pw@localhost", "@localhost", "localhost@evil.example",
        "localhost\\@evil.example", "local\thost", "localhost\n", "localhost\r\nX: 1", "local host",
        "localhost,evil.example", "localhost:80:80", "localhost:x", "localhost:123456",
        "[::1", "::1", "[::1]x", "[::ffff:127.0.0.1]", "127.0.0.2", "127.1", "0x7f000001",
        "2130706433", "0.0.0.0", "%6cocalhost", "localhost%00", "xn--localhost", "\uff4cocalhost",
    ],
)  # fmt: skip
def test_every_other_host_is_refused(host: str | None) -> None:
    refusal = keeper("box").check_host(host, None)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.FORBIDDEN_HOST


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (None, True),
        ("http://localhost:3000", True),
        ("https://box", True),
        ("http://[::1]:8080", True),
        ("http://localhost/", True),
        ("null", False),
        ("", False),
        ("file://", False),
        ("http://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://x@localhost", False),
        ("http://localhost/x", False),
        ("http://[::1", False),
        ("localhost", False),
        ("http://", False),
    ],
)
def test_pages_of_other_sites_may_not_call(origin: str | None, passes: bool) -> None:
    assert (keeper("box").check_host("box", origin) is None) is passes


SCOPES = ("user", "operator", "admin", "pool", "metrics")
MATRIX = {
    Scope.USER: {"user", "operator", "admin"},
    Scope.OPERATOR: {"operator", "admin"},
    Scope.ADMIN: {"admin"},
    Scope.POOL: {"pool"},
    Scope.METRICS: {"metrics", "operator", "admin"},
}


@pytest.mark.parametrize(
    "row", [row for row in ROUTES if row.scope is not Scope.OPEN],
    ids=lambda row: f"{row.method} {row.path}",
)  # fmt: skip
def test_each_row_is_open_to_exactly_the_scopes_of_the_matrix(row: object) -> None:
    scope = row.scope  # type: ignore[attr-defined]
    for name in SCOPES:
        found = keeper(scopes=(name,)).admit(scope, "token")
        if name in MATRIX[scope]:
            assert isinstance(found, Principal)
        else:
            assert isinstance(found, Refusal)
            assert found.code is Code.SCOPE
    refusal = keeper(scopes=()).admit(scope, "token")
    assert isinstance(refusal, Refusal)


def test_the_table_says_who_may_do_what() -> None:
    named = {(row.method, row.path): row.scope for row in ROUTES}
    open_rows = {key for key, scope in named.items() if scope is Scope.OPEN}
    assert open_rows == {("GET", "/"), ("GET", "/livez"), ("GET", "/readyz")}
    pool_rows = {key for key, scope in named.items() if scope is Scope.POOL}
    assert pool_rows == {("POST", "/v2/pools/register"), ("POST", "/v2/pools/{id}/heartbeat")}
    assert named["GET", "/v2/workers"] is Scope.OPERATOR
    assert named["POST", "/v2/workers/{id}/stop"] is Scope.OPERATOR
    assert len({row.handler for row in ROUTES}) == len(named) == len(ROUTES)


@pytest.mark.parametrize(
    ("credential", "code"),
    [(None, Code.NO_KEY), ("", Code.NO_KEY), ("other", Code.BAD_KEY), ("Token", Code.BAD_KEY)],
)
def test_no_key_and_a_wrong_key_are_told_apart(credential: str | None, code: Code) -> None:
    refusal = keeper().admit(Scope.USER, credential)
    assert isinstance(refusal, Refusal)
    assert refusal.code is code
    assert credential is None or not credential or credential not in refusal.message


@pytest.mark.parametrize(
    ("text", "passes"),
    [("a-B-9", True), ("x" * 64, True), ("x" * 65, False), ("", False), (None, False),
     ("a\n", False), ("a b", False), ("ä", False), ("a;b", False)],
)  # fmt: skip
def test_a_correlation_id_is_taken_only_when_it_is_safe(text: str | None, passes: bool) -> None:
    assert correlation_id_from(text) == (text if passes else None)
