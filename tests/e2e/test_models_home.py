"""From the name of a model that lies on no host to its answer, through the whole of home mode."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_core.catalog import builtin
from support.fake_hub import FakeHub
from support.home import Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

ANSWERS = json.loads((Path(__file__).parents[1] / "support/answers.json").read_text("utf-8"))
TINY = Path(builtin.__file__).parent / "models" / "tiny-chat.gguf"
REPO = "acme/Tiny-GGUF"
NAME = f"hf:{REPO}:Q8_0"
PROMPT = "What is a worker?"
ANSWER = ANSWERS["tiny-chat"][PROMPT]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, {"README.md": b"# Tiny\n", "tiny-Q8_0.gguf": TINY})
        yield hub


@pytest.fixture
def home(tmp_path: Path, hub: FakeHub) -> Iterator[Home]:
    cache = tmp_path / "hf"
    home = Home(tmp_path / "home", {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache)})
    home.folder.mkdir()
    yield home
    home.close()


def models_of(home: Home) -> set[str]:
    listed = home.pool("models", "list", "--format", "json").must().json()
    assert isinstance(listed, list)
    return {model["id"] for model in listed}


def test_a_model_is_refused_fetched_asked_deleted_and_refused_again(
    home: Home, hub: FakeHub
) -> None:
    home.start()
    ask = ("jobs", "submit", "--model", NAME, "--prompt", PROMPT)

    refused = home.llorch(*ask).must(1)
    assert f"llorch-pool models download {NAME}" in refused.err

    home.pool("models", "download", NAME).must()
    assert NAME in models_of(home)
    until_sync(lambda: home.llorch(*ask).code == 0, what="the orchestrator heard of the model")
    answered = home.llorch(*ask).must()
    assert answered.out == ANSWER + "\n"

    in_use = home.pool("models", "delete", NAME, "--force").must(1)
    assert "llorch-pool worker stop" in in_use.err
    workers = home.pool("worker", "list", "--format", "json").must().json()
    assert isinstance(workers, list)
    (held,) = (it["name"] for it in workers if it["model"] == NAME)
    home.pool("worker", "stop", held).must()
    home.pool("models", "delete", NAME, "--force").must()
    assert NAME not in models_of(home)
    assert hub.sent_bytes("tiny-Q8_0.gguf") == TINY.stat().st_size


def test_a_name_of_the_users_own_catalogue_is_known_to_all(home: Home, hub: FakeHub) -> None:
    size, sha256 = TINY.stat().st_size, hub.sha256(REPO, "tiny-Q8_0.gguf")
    home.folder.joinpath("config").mkdir(parents=True)
    home.folder.joinpath("config", "catalog.toml").write_text(
        f"""
        [[models]]
        id = "pocket"
        name = "Pocket"
        description = "A model of this test"
        aliases = ["small"]
        ctx = 1024
        parallel = 1
        trained_ctx = 1024
        sampling = {{ temperature = 0.0 }}

        [models.file]
        source = "hub"
        repo = "{REPO}"
        file = "tiny-Q8_0.gguf"
        sha256 = "{sha256}"
        size_bytes = {size}
        """
    )
    home.start()
    home.pool("models", "download", "small").must()
    assert "pocket" in models_of(home)
    ask = ("jobs", "submit", "--model", "small", "--prompt", PROMPT)
    until_sync(lambda: home.llorch(*ask).code == 0, what="the orchestrator heard of the model")
    assert home.llorch(*ask).must().out == ANSWER + "\n"
