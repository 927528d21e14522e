"""What a hub and a network do to a download after its first half, and how the download ends.

A script gets the faults of the hub, what fits the later requests for the content, and what fits
those to the hub itself, which come before them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from support.download_drill import FILE, SIZE, Drill
from support.fake_hub import FakeHub, Seen
from support.fake_hub_faults import Faults, Leg
from support.home import Finished

__all__ = ["HALF", "HEALING", "LASTING", "End", "Trouble", "strike_at_half"]

HALF = SIZE // 2

Fits = Callable[[Seen], bool]
Script = Callable[[Faults, Fits, Fits], None]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong once the first half is here, and where the requests after it begin."""

    script: Script
    starts: tuple[int, ...]
    said: str = ""
    sent: int = SIZE


HEALING = {
    "wrong bytes of equal size": Trouble(
        lambda faults, later, _: faults.wrong_bytes(when=later), (HALF, 0), "begins anew", 2 * SIZE
    ),
    "an ignored range": Trouble(
        lambda faults, later, _: faults.ignore_range(when=later), (HALF,), sent=HALF + SIZE
    ),
    "a page for people": Trouble(
        lambda faults, later, _: faults.html(when=later), (HALF, HALF), "page for people"
    ),
    "an expired link": Trouble(
        lambda faults, later, _: faults.expire_links(when=later),
        (HALF, HALF),
        "not valid any more (403)",
    ),
    "a link to nothing": Trouble(
        lambda faults, later, _: faults.status(404, leg="cdn", when=later),
        (HALF, HALF),
        "not valid any more (404)",
    ),
    "too many requests": Trouble(
        lambda faults, _, hub: faults.status(429, retry_after=30, when=hub),
        (HALF,),
        "wants us to slow down (429); tries again in 3",
    ),
    "a storm": Trouble(
        lambda faults, later, _: faults.status(503, times=6, leg="cdn", when=later),
        (HALF,) * 7,
        "(503); tries again",
    ),
    "a storm of the hub itself": Trouble(
        lambda faults, _, hub: faults.status(503, times=6, when=hub), (HALF,), "(503); tries again"
    ),
}


@dataclass(frozen=True)
class End:
    """Trouble that does not end: how the download does, and what is kept for the next one."""

    script: Script
    code: int
    said: str
    requests: int
    kept: int = HALF


LASTING = {
    "wrong bytes of equal size": End(
        lambda faults, later, _: faults.wrong_bytes(times=None, when=later),
        1,
        "nothing of it was kept (DATA_CORRUPT)",
        requests=2,
        kept=0,
    ),
    "a page for people": End(
        lambda faults, later, _: faults.html(times=None, when=later),
        5,
        "page for people",
        requests=8,
    ),
    "expired links": End(
        lambda faults, later, _: faults.expire_links(times=None, when=later),
        5,
        "not valid any more",
        requests=8,
    ),
    "a storm": End(
        lambda faults, later, _: faults.status(503, times=None, leg="cdn", when=later),
        5,
        "(503)",
        requests=8,
    ),
    "too long a wait": End(
        lambda faults, later, _: faults.status(
            429, times=None, leg="cdn", retry_after=3600, when=later
        ),
        1,
        "slow down (429)",
        requests=1,
    ),
    "a file that is gone": End(
        lambda faults, _, hub: faults.status(404, times=None, when=hub),
        3,
        f"the hub has no {FILE} any more",
        requests=0,
    ),
}


def strike_at_half(drill: Drill, script: Script) -> Finished:
    """Cut a download at its half, and let what comes after it go wrong."""
    hub = drill.hub
    drill.script.cut(0, HALF)
    script(hub.faults, _later_requests(hub, "cdn"), _later_requests(hub, "hub"))
    return drill.download(hasty=True)


def _later_requests(hub: FakeHub, leg: Leg) -> Fits:
    """Fits the requests for the file at one of the two origins, without the first of them."""

    def fits(seen: Seen) -> bool:
        asked = [it for it in hub.requests if (it.leg, it.file) == (leg, FILE)]
        return seen.leg == leg and seen.file == FILE and asked[0] is not seen

    return fits
