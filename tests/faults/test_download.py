"""Downloads are cut, killed and lied to: the file is whole and verified, or absent, and goes on.

Run more often by `./dev faults download --reps N`. What is said of bytes is what the hub counted.
"""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

from orchestrator_core.units import GIB, MIB
from support.download_drill import (
    FILE,
    MODEL,
    REPO,
    SIZE,
    Drill,
    content,
    drill_at,
    random_steps,
)
from support.download_troubles import HALF, HEALING, LASTING, strike_at_half
from support.fake_hub import FakeHub
from support.faults import kill
from support.small_disk import SmallDisk, small_disk
from support.tls_front import tls_front
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

TOKEN = "hf_" + "nobodymaylearnthis" * 2
TENTH = SIZE // 10
GATED, PRIVATE = "acme/gated-GGUF", "acme/private-GGUF"
# More than what has to stay free beside a model.
ENOUGH = 2 * GIB
PAGE = 4096


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """Which repetition of a drill this is; it is the seed of what is left to chance."""
    return int(request.param)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


@pytest.fixture
def drill(hub: FakeHub, tmp_path: Path) -> Iterator[Drill]:
    with drill_at(tmp_path, hub) as drill:
        yield drill


@pytest.fixture
def disk(drill: Drill, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small file system on which the models of the home lie."""
    with small_disk(tmp_path / "disk", 16 * MIB) as disk:
        drill.models = disk.folder / "models"
        drill.home.env["LLORCH_POOL_MODELS_FOLDER"] = str(drill.models)
        yield disk


# Cuts and kills.


def test_a_cut_at_every_tenth_asks_for_no_byte_twice(drill: Drill, hub: FakeHub) -> None:
    for number in range(10):
        drill.script.cut(number, TENTH)
    # Only the rests between the tries are shorter than those of the real program.
    drill.download(hasty=True).must()
    # A server that closes has sent what it had before: nothing is in flight, so nothing is twice.
    assert drill.starts() == [number * TENTH for number in range(11)]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_a_kill_after_every_tenth_loses_nothing_that_came(drill: Drill, hub: FakeHub) -> None:
    kept = [drill.kill_after(TENTH) for _ in range(9)]
    drill.download().must()
    # Each was killed when all that was sent had come to the disk, so the sum is exact.
    assert kept == list(accumulate([TENTH] * 9))
    assert drill.starts() == [0, *kept]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_cuts_and_kills_anywhere_cost_what_was_in_flight_and_no_more(
    drill: Drill, hub: FakeHub, repetition: int
) -> None:
    steps = random_steps(repetition, 6)
    print(f"seed {repetition}: {steps}")
    for number, (kind, after_bytes) in enumerate(steps):
        act = drill.script.cut if kind == "cut" else drill.script.hold
        act(number, after_bytes)
    starts, lost, download = [0], 0, None
    for number, (kind, after_bytes) in enumerate(steps):
        download = download or drill.begin(hasty=True)
        drill.script.wait(number, after_bytes)
        reached = starts[-1] + after_bytes
        if kind == "kill":
            # The hub has sent it all; what had not come to the disk yet was in flight.
            download.kill()
            download = None
            lost += reached - drill.part_bytes()
            reached = drill.part_bytes()
        starts.append(reached)
    (download or drill.begin(hasty=True)).finished().must()
    assert drill.starts() == starts
    # A piece that the hub was just sending when its reader died counts as not sent.
    assert hub.sent_bytes(FILE) <= SIZE + lost
    assert not hub.faults.unused()
    drill.must_be_whole()


# A hub and a network that lie.


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


# A disk without room.


def test_a_disk_without_room_is_told_before_a_byte_is_asked_for(
    drill: Drill, disk: SmallDisk
) -> None:
    done = drill.download().must(5)
    # 4 MiB, and 1 GiB that stays free, of which 16 MiB are there.
    assert "needs 4 MiB more and 16 MiB are free: make room for another 1012 MiB" in done.err
    assert drill.asked() == []
    drill.must_be_absent()
    disk.resize(ENOUGH)
    drill.download().must()
    drill.must_be_whole()


def test_a_disk_that_fills_on_the_way_costs_nothing_that_came(
    drill: Drill, hub: FakeHub, disk: SmallDisk
) -> None:
    disk.resize(ENOUGH)
    gate = drill.script.hold(0, TENTH)
    download = drill.begin()
    drill.wait_for_part(TENTH)
    disk.resize(16 * MIB)
    disk.grow_another_file(leaving_bytes=MIB)
    gate.set()
    done = download.finished().must(5)
    assert "the disk is full and " in done.err
    assert f"of {FILE} are still missing: make room and start again" in done.err
    kept = drill.part_bytes()
    # The file system rounds up to whole pages, once for each of the two files.
    assert TENTH < kept <= TENTH + MIB + 2 * PAGE
    drill.must_be_absent()

    # It is refused at once as long as there is no room.
    drill.download().must(5)
    disk.delete_other_file()
    disk.resize(ENOUGH)
    drill.download().must()
    assert drill.starts() == [0, kept]
    drill.must_be_whole()


# Two at once.


def test_two_programs_that_want_one_model_make_one_transfer(drill: Drill, hub: FakeHub) -> None:
    gate = drill.script.hold(0, HALF)
    first = drill.begin()
    drill.wait_for_part(HALF)
    second = drill.begin()
    second.hear(f"process {first.process.pid} fetches it already")
    gate.set()
    first.finished().must()
    second.finished().must()
    assert drill.starts() == [0]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_whoever_waits_takes_over_from_one_that_was_killed(drill: Drill, hub: FakeHub) -> None:
    drill.script.hold(0, HALF)
    first = drill.begin()
    drill.wait_for_part(HALF)
    second = drill.begin()
    second.hear("fetches it already")
    first.kill()
    second.finished().must()
    assert drill.starts() == [0, HALF]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_two_quantizations_of_one_repository_come_side_by_side(drill: Drill, hub: FakeHub) -> None:
    other = "drill-Q4_0.gguf"
    hub.change(REPO, other, content("other"))
    gates = [drill.script.hold(number, HALF) for number in (0, 1)]
    downloads = [drill.begin(), drill.begin(f"hf:{REPO}:Q4_0")]
    for file in (FILE, other):
        drill.wait_for_part(HALF, file)
    for gate in gates:
        gate.set()
    for download in downloads:
        download.finished().must()
    for file, model in ((FILE, MODEL), (other, f"hf:{REPO}:Q4_0")):
        assert drill.starts(file) == [0]
        assert hub.sent_bytes(file) == SIZE
        drill.must_be_whole(file, model=model)


# Secrets.


def must_know_nothing(drill: Drill, *said: str) -> None:
    """Fail if the token stands anywhere in the home, or in what was said."""
    assert drill.files_with(TOKEN) == []
    assert TOKEN not in "".join(said)


def shown_tokens(*hubs: FakeHub) -> set[tuple[str, str | None]]:
    """Who was shown what: the origins that were asked, and the authorization they saw."""
    return {
        (hub.url if seen.leg == "hub" else hub.cdn_url, seen.authorization)
        for hub in hubs
        for seen in hub.requests
    }


@pytest.mark.parametrize("via", ["native", "hf"])
def test_the_token_goes_to_the_hub_and_nowhere_else(drill: Drill, hub: FakeHub, via: str) -> None:
    model = f"hf:{GATED}:Q8_0"
    drill.home.env["HF_TOKEN"] = TOKEN
    hub.add(GATED, {FILE: content("gated")}, gated=True)
    gate = drill.script.hold(0, HALF)
    download = drill.begin(model, "--via", via)
    drill.script.wait(0, HALF)
    commands = drill.commands_of(download)
    # The hub's program runs on a leash that another process holds.
    assert len(commands) == (3 if via == "hf" else 1)
    assert TOKEN not in str(commands)
    must_know_nothing(drill, download.said)
    gate.set()
    done = download.finished().must()
    must_know_nothing(drill, done.out, done.err)
    # The hub's program asks the hub for some things without it.
    expected = {(hub.url, f"Bearer {TOKEN}"), (hub.cdn_url, None)}
    assert shown_tokens(hub) - {(hub.url, None)} == expected
    drill.must_be_whole(repo=GATED, model=model)


def test_no_third_server_learns_the_token(drill: Drill, hub: FakeHub) -> None:
    drill.home.env["HF_TOKEN"] = TOKEN
    with FakeHub() as third, FakeHub() as fourth:
        for one in (third, fourth):
            one.add(REPO, {FILE: content()})
        hub.relocate = lambda link: third.file_url(REPO, FILE)
        third.relocate = lambda link: link.replace(third.cdn_url, fourth.cdn_url)
        done = drill.download().must()
        shown = shown_tokens(hub, third, fourth)
    must_know_nothing(drill, done.out, done.err)
    assert shown == {
        (hub.url, f"Bearer {TOKEN}"),
        (third.url, None),
        (fourth.cdn_url, None),
    }
    drill.must_be_whole()


def test_a_way_out_of_tls_is_not_taken(drill: Drill, hub: FakeHub, tmp_path: Path) -> None:
    drill.home.env["HF_TOKEN"] = TOKEN
    pem = tmp_path / "front.pem"
    with tls_front(hub.url, pem) as front:
        drill.home.env |= {"HF_ENDPOINT": front, "SSL_CERT_FILE": str(pem)}
        done = drill.download().must(4)
        assert "which is not https, was refused" in done.err
        assert drill.asked() == []
        hub.redirects = False
        good = drill.download().must()
    must_know_nothing(drill, done.out, done.err, good.out, good.err)
    assert {origin for origin, _ in shown_tokens(hub)} == {hub.url}
    drill.must_be_whole()


def test_a_token_that_the_hub_does_not_know_is_not_shown(drill: Drill, hub: FakeHub) -> None:
    drill.home.env["HF_TOKEN"] = wrong = TOKEN.replace("learn", "guess")
    done = drill.download().must(4)
    assert "does not know the token in HF_TOKEN" in done.err
    assert drill.files_with(wrong) == []
    assert wrong not in done.out + done.err


# The daemon, and the hub's own program.


def test_a_killed_daemon_goes_on_where_it_stopped_when_it_is_asked_again(
    drill: Drill, hub: FakeHub
) -> None:
    drill.home.pool("daemon", "start").must()
    drill.script.hold(0, HALF)
    drill.download(MODEL, "--detach").must()
    drill.wait_for_part(HALF)
    kill(drill.home.pid("pool-managerd"))
    drill.home.pool("daemon", "start").must()
    gate = drill.script.hold(1, TENTH)
    first = drill.begin()
    drill.wait_for_part(HALF + TENTH)
    second = drill.begin()
    second.hear("transferring")
    gate.set()
    first.finished().must()
    second.finished().must()
    assert drill.starts() == [0, HALF]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_whoever_watches_a_killed_daemon_goes_on_without_it(drill: Drill, hub: FakeHub) -> None:
    drill.home.pool("daemon", "start").must()
    drill.script.hold(0, HALF)
    download = drill.begin()
    drill.wait_for_part(HALF)
    download.hear("transferring")
    kill(drill.home.pid("pool-managerd"))
    done = download.finished().must()
    assert "pool-managerd has ended: the download goes on without it" in done.err
    assert drill.starts() == [0, HALF]
    drill.must_be_whole()


def test_the_hubs_own_program_does_not_outlive_a_killed_download(
    drill: Drill, hub: FakeHub
) -> None:
    gate = drill.script.hold(0, HALF)
    download = drill.begin(MODEL, "--via", "hf")
    drill.script.wait(0, HALF)
    below = drill.started_by(download)
    assert len(below) == 2
    download.kill()
    until_sync(lambda: not any(it.is_running() for it in below), what="the end of hf")
    gate.set()
    drill.download(MODEL, "--via", "hf").must()
    drill.must_be_whole()


def test_the_hubs_own_program_is_believed_only_after_its_bytes_were_read(
    drill: Drill, hub: FakeHub
) -> None:
    hub.faults.wrong_bytes(times=None)
    done = drill.download(MODEL, "--via", "hf").must(1)
    assert "DATA_CORRUPT" in done.err
    assert "nothing of it was kept" in done.err
    drill.must_be_absent()
    hub.faults.let_go()
    good = drill.download(MODEL, "--via", "hf").must()
    assert f"{MODEL} is here (4 MiB, 4 MiB fetched)" in good.err
    drill.must_be_whole()
