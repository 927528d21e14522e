"""A hub and a network that lie to a download: no wrong byte becomes a model."""

import pytest

from support.download_drill import FILE, MODEL, REPO, SIZE, TOKEN, Drill, content
from support.download_troubles import HALF, HEALING, LASTING, strike_at_half
from support.fake_hub import FakeHub

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

TENTH = SIZE // 10
GATED, PRIVATE = "acme/gated-GGUF", "acme/private-GGUF"


def test_wrong_bytes_never_become_a_model(drill: Drill, hub: FakeHub) -> None:
    hub.faults.wrong_bytes(times=None)
    done = drill.download().must(1)
    last = done.err.splitlines()[-1]
    assert f"{FILE} was fetched twice and is damaged: its SHA-256 is" in last
    assert last.endswith("nothing of it was kept (DATA_CORRUPT)")
    assert MODEL not in drill.listed()
    assert [path.suffix for path in drill.left_of(hub.sha256(REPO, FILE))] == [".lock"]
    drill.must_be_absent()


@pytest.mark.parametrize("name", HEALING)
def test_trouble_on_the_way_heals(drill: Drill, hub: FakeHub, name: str) -> None:
    trouble = HEALING[name]
    done = strike_at_half(drill, trouble.script).must()
    assert trouble.said in done.err
    assert drill.starts() == [0, *trouble.starts]
    assert hub.sent_bytes(FILE) == trouble.sent
    assert not hub.faults.unused()
    drill.must_be_whole()


@pytest.mark.parametrize("name", LASTING)
def test_trouble_without_an_end_ends_and_keeps_what_is_good(
    drill: Drill, hub: FakeHub, name: str
) -> None:
    end = LASTING[name]
    done = strike_at_half(drill, end.script).must(end.code)
    assert end.said in done.err.splitlines()[-1], done.err
    assert "Traceback" not in done.err
    # The cut itself was the first of nine failures in a row after which nobody is asked any more.
    assert drill.starts()[:2] == [0, HALF][: 1 + end.requests]
    assert len(drill.asked()) == 1 + end.requests
    assert drill.part_bytes() == end.kept
    drill.must_be_absent()
    hub.faults.let_go()
    drill.download().must()
    assert drill.starts()[-1] == end.kept
    drill.must_be_whole()


def test_a_page_for_people_instead_of_a_listing_ends_at_once(drill: Drill, hub: FakeHub) -> None:
    hub.rewrite = lambda path, body: b"<!doctype html><html>Welcome to the guest network</html>"
    done = drill.download().must(1)
    assert "the hub does not answer like a hub: " in done.err
    assert "check HF_ENDPOINT and the proxy variables" in done.err
    assert drill.asked() == []
    drill.must_be_absent()


def test_a_commit_that_moves_mixes_no_bytes(drill: Drill, hub: FakeHub) -> None:
    assert drill.kill_after(HALF) == HALF
    # Another file of the repository changes: the content is the same, and what came of it is good.
    hub.change(REPO, "README.md", b"# New\n")
    assert drill.kill_after(TENTH) == HALF + TENTH
    # The file itself changes: nothing of the old one is good for the new one.
    old = hub.sha256(REPO, FILE)
    hub.change(REPO, FILE, content("new"))
    drill.download().must()
    assert drill.starts() == [0, HALF, 0]
    drill.must_be_whole()
    assert not (drill.models / "blobs" / old).exists()


def test_a_file_that_changes_while_it_comes_stays_the_one_that_was_listed(
    drill: Drill, hub: FakeHub
) -> None:
    gate = drill.script.hold(0, HALF)
    download, old = drill.begin(), hub.sha256(REPO, FILE)
    drill.wait_for_part(HALF)
    hub.change(REPO, FILE, content("new"))
    gate.set()
    download.finished().must()
    assert (drill.models / "blobs" / old).exists()
    assert drill.starts() == [0]


@pytest.mark.parametrize(
    ("repo", "code", "said"),
    [
        (GATED, 4, "{url}/acme/gated-GGUF and set HF_TOKEN"),
        (PRIVATE, 3, "HF_TOKEN must be set to read it"),
        ("acme/nowhere-GGUF", 3, "there is no repository acme/nowhere-GGUF"),
    ],
)
def test_a_closed_repository_says_how_it_opens(
    drill: Drill, hub: FakeHub, repo: str, code: int, said: str
) -> None:
    hub.add(GATED, {FILE: content()}, gated=True)
    hub.add(PRIVATE, {FILE: content()}, private=True)
    model = f"hf:{repo}:Q8_0"
    assert said.format(url=hub.url) in drill.download(model).must(code).err
    assert drill.asked() == []
    drill.must_be_absent(model=model)
    if repo == "acme/nowhere-GGUF":
        return
    drill.home.env["HF_TOKEN"] = TOKEN
    drill.download(model).must()
    drill.must_be_whole(model=model)


def test_a_hub_that_must_not_be_asked_is_not_asked(drill: Drill, hub: FakeHub) -> None:
    assert drill.kill_after(HALF) == HALF
    asked = len(hub.requests)
    drill.home.env["HF_HUB_OFFLINE"] = "1"
    assert "HF_HUB_OFFLINE=1 is set" in drill.download().must(5).err
    assert len(hub.requests) == asked
    drill.must_be_absent()
    assert drill.part_bytes() == HALF
