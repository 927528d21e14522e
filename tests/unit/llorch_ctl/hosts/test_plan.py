"""Which ways to a host are tried, and in which order."""

import pytest

from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.plan import Errand, Via, Way, plan_ways
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.errors import Code, Refusal

BOTH = HostEntry("mac", Destination("mac"), "https://mac:9200")
SSH_ONLY = HostEntry("mac", Destination("mac"))
URL_ONLY = HostEntry("mac", None, "https://mac:9200")


def errand(*, needs_ssh: bool = False, names_url: bool = False, has_key: bool = True) -> Errand:
    return Errand("worker list", needs_ssh, names_url, has_key)


@pytest.mark.parametrize(
    ("entry", "asked", "via", "ways"),
    [
        (SSH_ONLY, errand(has_key=False), Via.AUTO, (Way.SSH,)),
        (SSH_ONLY, errand(), Via.AUTO, (Way.TUNNEL, Way.SSH)),
        (BOTH, errand(), Via.AUTO, (Way.HTTP, Way.TUNNEL, Way.SSH)),
        (BOTH, errand(has_key=False), Via.AUTO, (Way.SSH,)),
        (BOTH, errand(needs_ssh=True), Via.AUTO, (Way.SSH,)),
        (BOTH, errand(names_url=True), Via.AUTO, (Way.SSH,)),
        (BOTH, errand(), Via.SSH, (Way.SSH,)),
        (BOTH, errand(), Via.HTTP, (Way.HTTP,)),
        (SSH_ONLY, errand(), Via.HTTP, (Way.TUNNEL,)),
        (URL_ONLY, errand(), Via.AUTO, (Way.HTTP,)),
    ],
)
def test_the_cheapest_way_comes_first(
    entry: HostEntry, asked: Errand, via: Via, ways: tuple[Way, ...]
) -> None:
    assert plan_ways(entry, asked, via) == ways


@pytest.mark.parametrize(
    ("entry", "asked", "via", "code", "word"),
    [
        (URL_ONLY, errand(), Via.SSH, Code.INVALID_REQUEST, "mac has no ssh"),
        (URL_ONLY, errand(needs_ssh=True), Via.AUTO, Code.INVALID_REQUEST, "mac has no ssh"),
        (BOTH, errand(needs_ssh=True), Via.HTTP, Code.INVALID_REQUEST, "takes --via ssh only"),
        (BOTH, errand(names_url=True), Via.HTTP, Code.INVALID_REQUEST, "--url does not go"),
        (BOTH, errand(has_key=False), Via.HTTP, Code.NO_KEY, "key_file"),
        (URL_ONLY, errand(has_key=False), Via.AUTO, Code.NO_KEY, "key_file"),
    ],
)
def test_where_no_way_is_left_the_next_step_is_said(
    entry: HostEntry, asked: Errand, via: Via, code: Code, word: str
) -> None:
    found = plan_ways(entry, asked, via)
    assert isinstance(found, Refusal)
    assert found.code is code
    assert word in found.message
