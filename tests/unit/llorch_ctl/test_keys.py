"""llorch keys against a scripted orchestrator: the key alone on stdout, the rest as talk."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.commands.keys.create import SCOPES
from llorch_ctl.commands.keys.states import key_status, named_key
from llorch_ctl.main import cli
from orchestrator_core.contracts.keys import KeyScope, KeyView
from orchestrator_core.errors import Code, Refusal
from support.fake_orchestrator import KEY_ID, FakeOrchestrator, fake_orchestrator, key

OTHER_ID = KEY_ID[:-1] + "0"
OLD = "2026-01-01T00:00:00.000Z"
NEVER = "2999-01-01T00:00:00.000Z"


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator() as served:
        yield served


@pytest.fixture
def env(fake: FakeOrchestrator, tmp_path: Path) -> dict[str, str]:
    return {
        "LLORCH_HOME": str(tmp_path),
        "LLORCH_ORCHESTRATOR_URL": fake.url,
        "LLORCH_API_KEY": "k1",
    }


def run(env: dict[str, str], *args: str) -> Result:
    return CliRunner().invoke(cli, ("keys", *args), env=env)


def test_a_fresh_key_is_alone_on_stdout(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    result = run(env, "create", "laptop")
    assert (result.exit_code, result.stdout) == (0, "llo_user_secret\n")
    assert result.stderr == (
        f"{KEY_ID} opens user for laptop; it is shown only now\n"
        f"end it with: llorch keys revoke {KEY_ID}\n"
    )
    body = fake.last("POST", "/v2/keys").body
    assert body["scopes"] == ["user"]
    assert "models" not in body


def test_every_limit_of_a_key_has_its_flag(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    result = run(
        env, "create", "n", "--scope", "user", "--scope", "metrics", "--model", "a", "-m", "b",
        "--priority", "batch", "--weight", "3", "--requests-per-minute", "60",
        "--concurrent-jobs", "4", "--expires", "30d", "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert fake.last("POST", "/v2/keys").body == {
        "name": "n", "scopes": ["user", "metrics"], "models": ["a", "b"], "priority": "batch",
        "weight": 3, "requests_per_minute": 60, "concurrent_jobs": 4, "expires_in_s": 30 * 86400,
    }  # fmt: skip
    shown = json.loads(result.stdout)
    assert (shown["key"], shown["weight"]) == ("llo_user_secret", 3)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("",), "NAME"),
        (("n", "--weight", "0"), "--weight"),
        (("n", "--scope", "root"), "--scope"),
        (("n", "--requests-per-minute", "0"), "--requests-per-minute"),
        (("n", "--expires", "soon"), "--expires"),
        (("n", "--expires", "9000d"), "--expires"),
        (("n", "--model", ""), "--model"),
    ],
)
def test_a_wrong_limit_is_wrong_usage_before_any_call(
    fake: FakeOrchestrator, env: dict[str, str], args: tuple[str, ...], words: str
) -> None:
    result = run(env, "create", *args)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert fake.asked == []


def test_list_shows_what_works_and_counts_the_rest(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.keys = [
        key(name="works", expires_at=NEVER, models=["tiny-chat"]),
        key(OTHER_ID, name="gone", revoked_at=OLD),
        key("key_3", name="late", expires_at=OLD),
    ]
    result = run(env, "list")
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        [KEY_ID, "works", "active"]
    ]
    assert result.stderr == "2 revoked or expired; --all shows them too\n"
    everything = json.loads(run(env, "list", "--all", "--format", "json").stdout)
    assert [(row["name"], row["status"]) for row in everything] == [
        ("works", "active"), ("gone", "revoked"), ("late", "expired"),
    ]  # fmt: skip


def test_revoke_takes_ids_and_names_and_may_be_repeated(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.keys = [key(), key(OTHER_ID, name="phone", note="its file holds it still")]
    for _ in range(2):
        result = run(env, "revoke", KEY_ID, "phone", "--format", "json")
        assert result.exit_code == 0, result.output
        assert [row["id"] for row in json.loads(result.stdout)] == [KEY_ID, OTHER_ID]
    assert "its file holds it still" in result.stderr
    assert fake.count("DELETE", f"/v2/keys/{OTHER_ID}") == 2


def test_revoke_does_all_it_can_and_reports_the_rest(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.keys = [key(name="twin"), key(OTHER_ID, name="twin"), key("key_3", name="phone")]
    result = run(env, "revoke", "twin", "nobody", "phone")
    assert result.exit_code == 3
    assert f'2 keys are called "twin": name one of {KEY_ID}, {OTHER_ID}' in result.stderr
    assert 'there is no key "nobody"' in result.stderr
    assert [row["id"] for row in fake.keys if row.get("revoked_at")] == ["key_3"]


def test_a_key_that_may_not_revoke_is_told_once(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.refusals["GET /v2/keys"] = (403, "SCOPE", "this needs an admin key")
    result = run(env, "revoke", "a", "b")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "error: this needs an admin key (SCOPE)\n"


def test_usage_is_summed_up_since_a_time_for_a_key(
    fake: FakeOrchestrator, env: dict[str, str]
) -> None:
    fake.keys = [key()]
    counts = {"jobs": 3, "completed": 2, "prompt_tokens": 10, "completion_tokens": 20}
    fake.usage = [{"key_id": KEY_ID, "key_name": "laptop", "model": "tiny-chat", **counts}]
    result = run(env, "usage", "--since", "24h", "--key", "laptop")
    assert result.exit_code == 0, result.output
    assert fake.last("GET", "/v2/usage").query == {"since": "24h", "key": KEY_ID}
    assert result.stdout.splitlines()[1].split() == ["laptop", "tiny-chat", "3", "2", "10", "20"]
    fake.usage = []
    assert run(env, "usage").output == "nothing was used\n"
    assert run(env, "usage", "--since", "yesterday").exit_code == 2


def test_usage_of_ones_own_key_needs_no_admin(fake: FakeOrchestrator, env: dict[str, str]) -> None:
    assert run(env, "usage", "--key", KEY_ID).exit_code == 0
    assert fake.count("GET", "/v2/keys") == 0


def test_a_name_means_the_key_that_works_and_not_its_revoked_twin() -> None:
    views = [
        KeyView.model_validate(key(KEY_ID, revoked_at=OLD)),
        KeyView.model_validate(key(OTHER_ID)),
    ]
    found = named_key(views, "laptop", now_ms=0)
    assert isinstance(found, KeyView)
    assert found.id == OTHER_ID
    missing = named_key(views, "x", now_ms=0)
    assert isinstance(missing, Refusal)
    assert missing.code is Code.KEY_NOT_FOUND


def test_a_key_expires_at_its_moment() -> None:
    view = KeyView.model_validate(key(expires_at="1970-01-01T00:00:01.000Z"))
    assert [key_status(view, now_ms) for now_ms in (999, 1000)] == ["active", "expired"]


def test_words_of_the_help_are_the_words_of_the_contract() -> None:
    assert tuple(KeyScope) == SCOPES
