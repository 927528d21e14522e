"""Hosts, origins, keys and scopes: who may pass."""

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.api.gatekeeper import Denial, Gatekeeper, correlation_id_from
from orchestratord.api.heads import Marks
from orchestratord.routes import ROUTES, Scope
from orchestratord.runtime.keys.denials import Reason
from orchestratord.runtime.keys.keyring import KeyRing, Principal, key_hash
from orchestratord.store.rows import KeyRow


def row(token: str, *scopes: str, number: int = 1, expires_at_ms: int | None = None) -> KeyRow:
    return KeyRow(
        id=KeyId(f"key_{number}"),
        name="me",
        hash=key_hash(token),
        scopes=scopes,
        created_at_ms=1,
        expires_at_ms=expires_at_ms,
    )


def keeper(*hosts: str, scopes: tuple[str, ...] = ("user",)) -> Gatekeeper:
    clock = FakeClock()
    keys = KeyRing(clock)
    keys.add(row("token", *scopes))
    keys.add(row("old", *scopes, number=2, expires_at_ms=clock.unix_ms()))
    keys.add(row("gone", *scopes, number=3))
    keys.revoke(KeyId("key_3"), 2)
    return Gatekeeper(keys, hosts)


def head(*fields: tuple[str, str | None]) -> Marks:
    return Marks.of(
        [
            (name.encode(), text.encode("latin-1", "replace"))
            for name, text in fields
            if text is not None
        ]
    )


def bearer(token: str | None) -> Marks:
    return head(("authorization", None if token is None else f"Bearer {token}"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "localhost:8080", "localhost:", "127.0.0.1", "127.0.0.1:1",
        "[::1]", "[::1]:8080", "box", "BOX:99", "box.local", "my_box:8080",
    ],
)  # fmt: skip
def test_our_own_names_pass_with_any_port(host: str) -> None:
    assert keeper("box", "Box.Local", "my_box").check_host(head(("host", host))) is None


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
    refusal = keeper("box").check_host(head(("host", host)))
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
    assert (keeper("box").check_host(head(("host", "box"), ("origin", origin))) is None) is passes


SCOPES = ("user", "operator", "admin", "pool", "metrics")
MATRIX = {
    Scope.USER: {"user", "operator", "admin"},
    Scope.OPERATOR: {"operator", "admin"},
    Scope.ADMIN: {"admin"},
    Scope.POOL: {"pool"},
    Scope.METRICS: {"metrics", "operator", "admin"},
}


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.OPEN])
def test_each_scope_is_open_to_exactly_the_keys_of_the_matrix(scope: Scope) -> None:
    for name in SCOPES:
        found = keeper(scopes=(name,)).admit(scope, bearer("token"))
        if name in MATRIX[scope]:
            assert isinstance(found, Principal)
        else:
            assert isinstance(found, Denial)
            assert (found.reason, found.refusal.code) == (Reason.SCOPE, Code.SCOPE)
    assert isinstance(keeper(scopes=()).admit(scope, bearer("token")), Denial)


def test_the_table_says_who_may_do_what() -> None:
    named = {(row.method, row.path): row.scope for row in ROUTES}
    open_rows = {key for key, scope in named.items() if scope is Scope.OPEN}
    # Of these only the join changes anything, and it takes a one-time token in its body.
    joins = ("POST", "/v2/pools/join")
    assert open_rows == {("GET", "/"), ("GET", "/livez"), ("GET", "/readyz"), joins}
    pool_rows = {key for key, scope in named.items() if scope is Scope.POOL}
    assert pool_rows == {("POST", "/v2/pools/register"), ("POST", "/v2/pools/{id}/heartbeat")}
    admin_rows = {key for key, scope in named.items() if scope is Scope.ADMIN}
    assert {path for _, path in admin_rows} == {
        "/v2/keys",
        "/v2/keys/{id}",
        "/v2/pools",
        "/v2/pools/{id}",
        "/v2/pools/join-tokens",
        "/v2/ssh-key",
    }
    assert named["GET", "/v2/workers"] is Scope.OPERATOR
    assert named["POST", "/v2/workers/{id}/stop"] is Scope.OPERATOR
    assert len({row.handler for row in ROUTES}) == len(named) == len(ROUTES)


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        (None, Code.NO_KEY, Reason.NO_KEY),
        ("", Code.NO_KEY, Reason.NO_KEY),
        ("other", Code.BAD_KEY, Reason.UNKNOWN),
        ("Token", Code.BAD_KEY, Reason.UNKNOWN),
        ("old", Code.BAD_KEY, Reason.EXPIRED),
        ("gone", Code.BAD_KEY, Reason.REVOKED),
    ],
)
def test_each_fault_of_a_key_is_told_without_the_key(
    token: str | None, code: Code, reason: Reason
) -> None:
    denial = keeper().admit(Scope.USER, bearer(token))
    assert isinstance(denial, Denial)
    assert (denial.refusal.code, denial.reason) == (code, reason)
    assert token is None or not token or f"{token} " not in denial.refusal.message


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ([("authorization", "Bearer token")], True),
        ([("authorization", "bearer  token ")], True),
        ([("x-api-key", "token")], True),
        ([("authorization", "Bearer token"), ("x-api-key", "token")], True),
        ([("authorization", "Bearer token"), ("x-api-key", "other")], False),
        ([("authorization", "Bearer other"), ("x-api-key", "token")], False),
        ([("authorization", "Basic token"), ("x-api-key", "token")], False),
        ([("authorization", "Bearer token"), ("authorization", "Bearer token")], False),
        ([("authorization", "Bearer token"), ("authorization", "Bearer other")], False),
        ([("x-api-key", "token"), ("x-api-key", "token")], False),
        ([("authorization", "Bearer"), ("x-api-key", "token")], False),
        ([("authorization", "token")], False),
        ([("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")], False),
        ([("cookie", "key=token"), ("forwarded", "for=127.0.0.1")], False),
    ],
)
def test_one_key_is_taken_and_two_that_may_differ_are_none(
    fields: list[tuple[str, str]], passes: bool
) -> None:
    found = keeper().admit(Scope.USER, head(*fields))
    assert isinstance(found, Principal if passes else Denial)
    assert passes or (isinstance(found, Denial) and found.refusal.outcome.http_status == 401)


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_head_with_two_hosts_or_origins_is_refused_even_when_both_are_ours(name: str) -> None:
    fields = [("host", "localhost"), ("origin", "http://localhost")]
    refusal = keeper().check_host(head(*fields, (name, dict(fields)[name])))
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST


@pytest.mark.parametrize(
    ("text", "passes"),
    [("a-B-9", True), ("x" * 64, True), ("x" * 65, False), ("", False), (None, False),
     ("a\n", False), ("a b", False), ("ä", False), ("a;b", False)],
)  # fmt: skip
def test_a_correlation_id_is_taken_only_when_it_is_safe(text: str | None, passes: bool) -> None:
    assert correlation_id_from(text) == (text if passes else None)
