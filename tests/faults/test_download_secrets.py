"""The token of a download goes to the hub alone, and is found nowhere afterwards."""

from pathlib import Path

import pytest

from support.download_drill import FILE, REPO, TOKEN, Drill, content
from support.download_troubles import HALF
from support.fake_hub import FakeHub
from support.tls_front import tls_front

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

GATED = "acme/gated-GGUF"


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
