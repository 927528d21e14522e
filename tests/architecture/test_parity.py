"""What the daemons can do, a command can ask for: the tables of docs/commands.md name every route."""

import re

import pytest

from orchestratord.routes import ROUTES as ORCHESTRATORD
from pool_managerd.routes import ROUTES as POOL_MANAGERD
from support.checkout import ROOT

TABLES = {"orchestratord": ORCHESTRATORD, "pool-managerd": POOL_MANAGERD}
ROW = re.compile(r"^\| `([A-Z]+ /\S*)` \| (.*?) ?\| (.*?) ?\|$", re.MULTILINE)


def rows(daemon: str) -> list[tuple[str, str, str]]:
    """Route, command and remark of each row of a daemon's table."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    _, _, rest = page.partition(f"\nOf {daemon}")
    table = re.search(r"(?:^\|.*\n?)+", rest, re.MULTILINE)
    assert table, f"no table of {daemon}"
    return [(route, command, why) for route, command, why in ROW.findall(table[0])]


@pytest.mark.parametrize("daemon", TABLES)
def test_every_route_has_its_row_and_no_other_is_there(daemon: str) -> None:
    named = [route for route, _, _ in rows(daemon)]
    assert sorted(named) == sorted(f"{route.method} {route.path}" for route in TABLES[daemon])


@pytest.mark.parametrize("daemon", TABLES)
def test_a_route_has_a_command_or_the_reason_why_it_has_none(daemon: str) -> None:
    for route, command, why in rows(daemon):
        assert re.fullmatch(r"`llorch(-pool)? [a-z -]+`", command) or (not command and why), route
