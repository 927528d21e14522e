"""One endpoint of three machines stays one: cables are cut, hosts die, the orchestrator is killed.

What was asked before is answered after, once, and with the words of an answer that nobody cut.
"""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Generator

import pytest

from support.fleet import NAMES, Fleet, pool_of
from support.held_answers import ANSWERS, LONG, LONG_ANSWER, held_answer
from support.hub_window import Following
from support.lab_host import LabHost

pytestmark = pytest.mark.e2e

CUT_S = 60.0
FLAP_S = 3.0
CALM_S = 7.0
JOBS = 30
PROMPTS = (LONG, "What is a worker?", "Count to ten", "Write a poem", "Say the alphabet")
FLAPS = 3
TERMINAL = ("end", "error")


def worker_pids(host: LabHost) -> list[int]:
    return sorted(process.pid for process in host.named("llorch-worker"))


def check_answer(fleet: Fleet, reader: Following, answer: str = LONG_ANSWER) -> None:
    """One job, one end, one text: that of the stored job, of its reader and of the uncut answer."""
    reader.ended()
    job = fleet.window.job(reader.job_id)
    assert (job["status"], job["output"]) == ("completed", answer), job
    assert reader.text == answer
    assert [event.id for event in reader.events] == list(
        range(reader.events[0].id, reader.events[0].id + len(reader.events))
    )
    assert [event.kind for event in reader.events if event.kind in TERMINAL] == ["end"]


def test_a_link_cut_for_a_minute_heals_and_nothing_is_lost(fleet: Fleet) -> None:
    mac = fleet.lab["mac"]
    before = worker_pids(mac)
    with held_answer(fleet, "mac") as held, a_minute() as is_over:
        mac.cut()
        held.let_go()
        fleet.until_status("mac", "suspect", "lost")
        elsewhere = [fleet.ask() for _ in range(3)]
        assert {job["status"] for job in elsewhere} == {"completed"}
        assert "mac" not in {pool_of(job) for job in elsewhere}
        waiting = fleet.window.submit(LONG, pin_pool="mac")
        fleet.until_status("mac", "lost")
        assert is_over.wait(2 * CUT_S)
        mac.heal()
        fleet.until_ready("mac")
        # What was cut, and what came meanwhile, may run nowhere else.
        check_answer(fleet, held.reader)
        check_answer(fleet, fleet.window.follow(waiting))
    assert worker_pids(mac) == before


def test_an_answer_whose_host_is_cut_off_in_its_middle_goes_on_elsewhere(fleet: Fleet) -> None:
    with held_answer(fleet) as held:
        held.host.cut()
        held.let_go()
        check_answer(fleet, held.reader)
        job = fleet.window.job(held.job_id)
        assert [attempt["status"] for attempt in job["attempts"]] == ["broken", "ended"]
        assert job["attempts"][0]["reason"] == "UNREACHABLE"
        assert pool_of(job) != held.host.name
        # The second host was given what the first had said, and made the rest of it only.
        assert job["attempts"][1]["kept_tokens"] > 0
        held.host.heal()
        fleet.until_ready(held.host.name)


def test_a_host_whose_every_process_is_killed_comes_back_by_one_command(fleet: Fleet) -> None:
    with held_answer(fleet) as held:
        host = held.host
        killed = host.kill_everything_but_sshd()
        assert len(killed) >= 2
        check_answer(fleet, held.reader)
    fleet.until_status(host.name, "suspect", "lost")
    told = fleet.llorch("host", "check", host.name).must(1)
    command = f"llorch pool daemon start --host {host.name}"
    assert command in told.out + told.err
    fleet.llorch(*command.split()[1:]).must()
    fleet.until_ready(host.name)
    assert fleet.ask(pin_pool=host.name)["status"] == "completed"


@pytest.mark.drill
def test_a_host_that_loses_its_power_comes_back_with_it(fleet: Fleet) -> None:
    host = fleet.lab["blep"]
    with held_answer(fleet, "blep") as held:
        host.power_off()
        fleet.until_status("blep", "lost")
        told = fleet.llorch("host", "check", "blep").must(1)
        assert "Traceback" not in told.err
        fleet.lab.power_on("blep")
        fleet.llorch("pool", "daemon", "start", "--host", "blep").must()
        fleet.until_ready("blep")
        check_answer(fleet, held.reader)


def test_the_orchestrator_is_killed_while_three_hosts_answer_and_goes_on(fleet: Fleet) -> None:
    before = {name: worker_pids(fleet.lab[name]) for name in NAMES}
    with contextlib.ExitStack() as cleaning:
        held = [cleaning.enter_context(held_answer(fleet, name)) for name in NAMES]
        (orchestrator,) = fleet.lab.hub.named("orchestratord")
        os.kill(orchestrator.pid, signal.SIGKILL)
        orchestrator.wait(10)
        for it in held:
            it.let_go()
        fleet.llorch("orchestrator", "start").must()
        for it in held:
            it.reader.go_on()
        for name in NAMES:
            fleet.until_ready(name)
        for it in held:
            check_answer(fleet, it.reader)
            assert pool_of(fleet.window.job(it.job_id)) == it.host.name
    assert {name: worker_pids(fleet.lab[name]) for name in NAMES} == before


@pytest.mark.drill
def test_thirty_jobs_over_three_hosts_outlive_a_link_that_flaps(fleet: Fleet) -> None:
    known = {job["id"] for job in fleet.window.jobs()}
    jobs: dict[str, str] = {}
    with flapping(fleet.lab["mac"]) as cuts:
        for _ in range(FLAPS):
            assert cuts.acquire(timeout=60.0), "the link was not cut again"
            prompts = itertools.islice(itertools.cycle(PROMPTS), JOBS // FLAPS)
            jobs |= {fleet.window.submit(prompt): prompt for prompt in prompts}
        readers = [fleet.window.follow(job_id) for job_id in jobs]
        for reader in readers:
            check_answer(fleet, reader, ANSWERS[jobs[reader.job_id]])
    assert len(jobs) == JOBS
    assert {job["id"] for job in fleet.window.jobs()} - known == set(jobs)
    fleet.until_ready("mac")


@contextlib.contextmanager
def a_minute() -> Generator[threading.Event]:
    """An event that comes after the minute of the cut."""
    over = threading.Event()
    timer = threading.Timer(CUT_S, over.set)
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


@contextlib.contextmanager
def flapping(host: LabHost) -> Generator[threading.Semaphore]:
    """Cut a host's link again and again; each cut can be waited for."""
    over, cuts = threading.Event(), threading.Semaphore(0)

    def flap() -> None:
        while not over.is_set():
            host.cut()
            cuts.release()
            over.wait(FLAP_S)
            host.heal()
            over.wait(CALM_S)

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield cuts
    finally:
        over.set()
        thread.join()
