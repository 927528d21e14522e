"""Waiting for the end of a job, stored or not."""

import asyncio
from dataclasses import dataclass

from orchestrator_core.testing.facts import job_id
from orchestratord.runtime.jobs.farewells import Farewells
from orchestratord.runtime.jobs.live import LiveJobs


@dataclass
class Job:
    """A live job of which only the id matters here."""

    id: str


def live(*numbers: int) -> LiveJobs:
    jobs = LiveJobs()
    for number in numbers:
        jobs.add(Job(job_id(number)))  # pyright: ignore[reportArgumentType] - enough of one.
    return jobs


async def test_everybody_who_waits_learns_of_the_end_of_their_job_alone() -> None:
    jobs = live(1, 2)
    farewells = Farewells(jobs)
    with (
        farewells.of(job_id(1)) as one,
        farewells.of(job_id(1)) as two,
        farewells.of(job_id(2)) as other,
    ):
        jobs.drop(job_id(1))
        await asyncio.wait((one, two), timeout=5)
        assert [end.done() for end in (one, two, other)] == [True, True, False]
    assert farewells._waiting == {}


async def test_who_gives_up_leaves_nothing_behind() -> None:
    jobs = live(1)
    farewells = Farewells(jobs)
    with farewells.of(job_id(1)):
        with farewells.of(job_id(1)):
            pass
        assert len(farewells._waiting[job_id(1)]) == 1
    assert farewells._waiting == {}
    jobs.drop(job_id(1))
