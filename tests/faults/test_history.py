"""Clients of a home whose daemons are killed again and again are told the truth, once and wholly.

`./dev faults history --full` runs what is promised: 2,000 jobs of 16 clients, 50 kills of
orchestratord, 10 of pool-managerd and 20 of workers. The seed is printed (--seed N runs it again);
what was seen is kept when a promise broke.
"""

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.answers import chat_answers
from support.faults import listed
from support.history import LIVE, Aftermath, History, Violation
from support.history_aftermath import read_aftermath
from support.history_clients import Client, Pace
from support.history_nemesis import MODEL, Nemesis, plan_of
from support.history_rules import violations
from support.home import Home
from support.pool_commands import spawn
from support.waiting import until

pytestmark = [pytest.mark.e2e]

CLIENTS = 16
LONG = 20 * ("Count to one hundred", "Write a poem", "Tell me a story")
QUIET_WITHIN_S = 60.0
SHOWN_PER_RULE = 5


@dataclass(frozen=True)
class Scale:
    """How much is done and how often somebody dies."""

    jobs: int
    kills: dict[str, int]
    within_s: float
    """Many times what it takes; a drill that hangs tells its story none the less."""


SMALL = Scale(
    jobs=208,
    kills={"orchestratord": 5, "orderly restart": 1, "pool-managerd": 1, "worker": 3},
    within_s=150,
)
FULL = Scale(
    jobs=2_000,
    kills={"orchestratord": 50, "orderly restart": 5, "pool-managerd": 10, "worker": 20},
    within_s=1_500,
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Home mode with two workers that a person wants."""
    # The drill is about what is lost, not about how often a pool reports.
    env = {"LLORCH_ORCHESTRATOR_HEARTBEAT_INTERVAL_S": "1"}
    home = Home(tmp_path / "home", env)
    home.folder.mkdir()
    home.start()
    for _ in range(2):
        spawn(home, *MODEL)
    yield home
    home.close()


async def live_jobs(home: Home, http: httpx.AsyncClient) -> list[str]:
    """Jobs that have not ended, and workers that are at work or thought to be."""
    headers = {"Authorization": f"Bearer {home.key}"}
    found: list[str] = []
    for status in sorted(LIVE):
        url = f"{home.url}/v2/tasks"
        reply = await http.get(url, params={"status": status, "limit": 5}, headers=headers)
        found += [
            f"{job['id']} is still {status}" for job in reply.raise_for_status().json()["items"]
        ]
    workers = await asyncio.to_thread(listed, home)
    found += [f"{it['id']} is busy" for it in workers.values() if it["status"] == "busy"]
    reply = await http.get(f"{home.url}/v2/workers", headers=headers)
    for it in reply.raise_for_status().json()["items"]:
        if it["slots_busy"]:
            found.append(f"{it['slots_busy']} slots of {it['id']} are still counted as taken")
    return found


async def come_to_rest(home: Home, http: httpx.AsyncClient) -> list[str]:
    """What still moves when the time for it is over."""
    last: list[str] = []

    async def quiet() -> bool:
        last[:] = await live_jobs(home, http)
        return not last

    try:
        await until(quiet, timeout_s=QUIET_WITHIN_S, what="rest", every_s=0.5)
    except AssertionError:
        return last
    return []


async def perform(home: Home, history: History, scale: Scale) -> list[str]:
    """The whole drill; says what did not come to rest."""
    pace, unrest = Pace(CLIENTS), list[str]()
    # Most answers are over in a moment, so that the long ones are asked for more often.
    prompts = [*chat_answers("tiny-chat"), *LONG]
    dice = random.Random(history.seed)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as http:
        clients = [Client(it, home, history, pace, prompts, http) for it in range(CLIENTS)]
        nemesis = Nemesis(home, history, pace, dice)
        try:
            async with asyncio.timeout(scale.within_s), asyncio.TaskGroup() as group:
                group.create_task(nemesis.run(plan_of(dice, scale.jobs, scale.kills)))
                for client in clients:
                    group.create_task(client.run(scale.jobs // CLIENTS))
            unrest += await come_to_rest(home, http)
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    group.create_task(client.replay())
        except* (AssertionError, TimeoutError, httpx.HTTPError) as problems:
            unrest += [repr(problem) for problem in problems.exceptions]
    return unrest


def report(history: History, aftermath: Aftermath) -> None:
    """What the drill came to, whether or not it is good."""
    kept = [it for job in aftermath.jobs.values() for it in job.attempts if it.kept_tokens]
    resumed = sum(1 for it in history.readings if it.after)
    print(f"seed {history.seed}: {len(aftermath.jobs)} jobs, {aftermath.ends()}")
    reasons = Counter(it.reason for job in aftermath.jobs.values() for it in job.attempts)
    broken = {reason: number for reason, number in reasons.items() if reason}
    print(f"broken attempts {broken}; killed: orchestratord {history.orchestrator_kills},")
    print(
        f"again while it came up {history.early_kills}, restarted {history.orderly_stops}, pool-managerd {history.pool_kills},"
        f" workers {history.worker_kills}"
    )
    print(f"readings {len(history.readings)}, resumed {resumed}; continued attempts {len(kept)}")
    calls = Counter(f"{it.end} {it.code}".strip() for it in history.calls)
    print(f"calls of /v1: {dict(sorted(calls.items()))}")


def firsts(broken: list[Violation]) -> Iterator[str]:
    """A few of each kind, because one fault shows in many jobs."""
    shown = Counter[str]()
    for violation in broken:
        shown[violation.rule] += 1
        if shown[violation.rule] <= SHOWN_PER_RULE:
            yield str(violation)
    yield f"by rule: {dict(shown)}"


def keep(home: Home, history: History, broken: list[Violation]) -> Path:
    """Put all that tells the story where the next runs of tests do not clear it away."""
    folder = Path(tempfile.mkdtemp(prefix=f"llorch-history-{history.seed}-"))
    history.dump(folder / "history.jsonl", broken)
    shutil.copytree(home.state / "log", folder / "log")
    shutil.copytree(home.folder / "data", folder / "data")
    return folder


async def test_whoever_was_answered_is_told_the_truth_once_and_wholly(
    home: Home, repetition: int, full: bool
) -> None:
    history, scale = History(seed=repetition), FULL if full else SMALL
    unrest = await perform(home, history, scale)
    (database,) = home.folder.glob("data/**/*.db")
    aftermath = read_aftermath(database)
    aftermath.unrest += unrest
    report(history, aftermath)
    broken = violations(history, aftermath, chat_answers("tiny-chat"))
    if broken:
        kept = keep(home, history, broken)
        told = "\n".join(firsts(broken))
        pytest.fail(f"{len(broken)} violations, seed {history.seed}, see {kept}\n{told}")
    assert history.orchestrator_kills == scale.kills["orchestratord"]
    assert history.pool_kills == scale.kills["pool-managerd"]
    assert history.worker_kills >= scale.kills["worker"]
