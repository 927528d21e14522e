"""The chart of a link on docs/state-machines.md shows every change of its course and no other."""

import re
from itertools import product

from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.hosts.course import (
    Course,
    LinkState,
    LinkView,
    Pace,
    after_failure,
    after_refused_word,
    after_word,
    fresh_course,
)
from support.checkout import ROOT

LOST, FOR_A_PERSON = Refusal(Code.UNREACHABLE, "lost"), Refusal(Code.BAD_TOKEN, "used")
CHANGES = [
    after_word,
    *(lambda it, why=why: after_refused_word(it, why) for why in (LOST, FOR_A_PERSON)),
    *(
        lambda it, why=why: after_failure(it, why, draw=0.5, pace=Pace())[0]
        for why in (LOST, FOR_A_PERSON)
    ),
    lambda _: fresh_course(),
]


def test_the_page_shows_the_course_of_a_link() -> None:
    page = (ROOT / "docs" / "state-machines.md").read_text("utf-8")
    shown = set(re.findall(r"^    (\w+) --> (\w+)$", page.partition("## Link")[2], re.MULTILINE))
    moves = {
        (str(state), str(change(Course(LinkView(state))).view.state))
        for state, change in product(LinkState, CHANGES)
    }
    assert shown == {move for move in moves if move[0] != move[1]}
    assert f"[*] --> {fresh_course().view.state}" in page
