"""Completion asks a daemon briefly; whatever is wrong completes nothing and says nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.live_names import NameSource, completer, items_of, word
from orchestrator_core.console.programs import ORCHESTRATORD
from support.fake_orchestrator import FakeOrchestrator, fake_orchestrator
from support.run_files import announce


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator() as served:
        yield served


def source(tmp_path: Path, **env: str) -> NameSource:
    layout = Layout.from_env({"LLORCH_HOME": str(tmp_path)})
    layout.state.mkdir(exist_ok=True)
    layout.admin_key.write_text("the-key\n")
    return NameSource(ORCHESTRATORD, layout, env, layout.admin_key)


def test_the_running_daemon_is_asked_with_the_key_of_this_user(
    fake: FakeOrchestrator, tmp_path: Path
) -> None:
    asking = source(tmp_path)
    announce(asking.layout, "orchestratord", fake.url)
    assert items_of(asking.ask("/v2/tasks?limit=50"))
    asked = fake.last("GET", "/v2/tasks")
    assert asked.headers["authorization"] == "Bearer the-key"
    assert asked.query == {"limit": "50"}


def test_a_variable_names_daemon_and_key(fake: FakeOrchestrator, tmp_path: Path) -> None:
    source(tmp_path, LLORCH_ORCHESTRATOR_URL=fake.url, LLORCH_API_KEY="mine").ask("/v2/pools")
    assert fake.last("GET", "/v2/pools").headers["authorization"] == "Bearer mine"


def test_no_other_machine_is_told_the_key_of_the_file(tmp_path: Path) -> None:
    asking = source(tmp_path, LLORCH_ORCHESTRATOR_URL="http://far.example:1")
    assert asking._key("http://far.example:1", is_ours=False) is None
    assert asking._key("http://127.0.0.1:1", is_ours=False) == "the-key"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[", "nonsense", "http://127.0.0.1:x"]
)
def test_a_daemon_that_is_away_answers_nothing(tmp_path: Path, url: str) -> None:
    assert source(tmp_path, LLORCH_ORCHESTRATOR_URL=url).ask("/v2/pools") is None


@pytest.mark.parametrize(
    ("status", "body"), [(401, "{}"), (200, "not json"), (200, '"' + "x" * (5 << 20) + '"')]
)
def test_an_answer_that_is_none_completes_nothing(
    fake: FakeOrchestrator, tmp_path: Path, status: int, body: str
) -> None:
    fake.raw["GET /v2/pools"] = (status, body)
    assert source(tmp_path, LLORCH_ORCHESTRATOR_URL=fake.url).ask("/v2/pools") is None


def test_a_daemon_that_hangs_is_left_after_half_a_second(
    fake: FakeOrchestrator, tmp_path: Path
) -> None:
    fake.silent = "GET /v2/pools"
    assert source(tmp_path, LLORCH_ORCHESTRATOR_URL=fake.url).ask("/v2/pools") is None


def complete(names: object, incomplete: str = "") -> list[str]:
    found = completer(lambda: names)(
        click.Context(click.Command("x")), click.Option(["--x"]), incomplete
    )  # type: ignore[arg-type,return-value]
    return [item.value for item in found]


def test_only_names_that_fit_and_mean_nothing_to_a_shell_are_offered() -> None:
    names = [
        ("mac", ""),
        ("m$(date)", ""),
        ("metal`id`", ""),
        ("-rf", ""),
        ("m x", ""),
        ("box", ""),
    ]
    assert complete(names, "m") == ["mac"]


def test_a_list_without_end_is_cut() -> None:
    assert len(complete((f"n{count}", "") for count in range(10_000))) == 500


def test_whatever_goes_wrong_completes_nothing() -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield "one", ""
        raise RuntimeError("the daemon fell into the cellar")

    assert complete(broken()) == []


@pytest.mark.parametrize("document", [None, [], "x", {"items": 3}, {"items": [1, "a"]}, {}])
def test_documents_of_another_shape_have_no_items(document: object) -> None:
    assert items_of(document) == []


def test_a_word_of_another_kind_is_empty() -> None:
    assert word({"a": 1}, "a") == word(None, "a") == word({}, "a") == ""


def test_a_run_file_of_another_shape_is_no_address(tmp_path: Path) -> None:
    asking = source(tmp_path)
    asking.layout.run_folder.mkdir(parents=True)
    (asking.layout.run_folder / "orchestratord.json").write_text(json.dumps({"url": 3}))
    assert asking._run_file() == {"url": 3}
    assert word(asking._run_file(), "url") == ""
