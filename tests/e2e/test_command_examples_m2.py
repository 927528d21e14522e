"""The command lines that were promised for the whole of it, orchestratord included, as they stand."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.fake_hub import FakeHub
from support.home import Home
from support.quoted_commands import typed, unbroken
from support.quoted_models import add_models, know_models
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

ASK = 'llorch jobs submit --model llama3 --prompt "hello"'
IDS = f"{sys.executable} -c 'import json,sys; [print(it[\"id\"]) for it in json.load(sys.stdin)]'"


@pytest.fixture(scope="module")
def blep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A machine whose orchestrator runs; nobody has asked it anything before the first test."""
    folder = tmp_path_factory.mktemp("m2")
    with FakeHub() as hub:
        add_models(hub)
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}
        home = Home(folder / "home", env)
        know_models(home)
        typed(home, "llorch orchestrator start").must()
        yield home
        home.close()


@pytest.mark.parametrize("verb", ["cancel", "status"])
def test_llorch_jobs_cancel_and_status_of_job_123(blep: Home, verb: str) -> None:
    done = typed(blep, f"llorch jobs {verb} job-123").must(3)
    assert done.out == ""
    assert "job-123" in done.err
    assert "JOB_NOT_FOUND" in done.err
    assert json.loads(typed(blep, "llorch jobs list --format json").must().out) == []


def test_llorch_jobs_list_and_what_a_script_makes_of_it(blep: Home) -> None:
    assert typed(blep, "llorch jobs list").must().out == ""
    assert typed(blep, "llorch jobs list --format json").must().json() == []
    unbroken(blep, "llorch up")
    for prompt in ("one", "two"):
        typed(blep, f"llorch jobs submit --model tiny-chat --prompt {prompt} --detach").must()
    jobs: Any = typed(blep, "llorch jobs list --format json").must().json()
    assert len(jobs) == 2
    # jq -r '.[].id' in other words: not every machine has jq.
    loop = f"""
for job in $(llorch jobs list --format json | {IDS}); do
  llorch jobs cancel $job --format json
done
"""
    done = typed(blep, loop).must()
    assert all(job["id"] in done.out for job in jobs)


def test_llorch_jobs_submit_model_llama3_prompt_hello(blep: Home) -> None:
    refused = typed(blep, ASK).must(1)
    assert "llama3" in refused.err
    unbroken(blep, "llorch up", "llorch-pool models download llama3")
    until_sync(lambda: typed(blep, ASK).code == 0, what="the orchestrator heard of the model")
    assert typed(blep, ASK).must().out.strip()


def test_llorch_orchestrator_start_status_logs_stop(blep: Home) -> None:
    assert "already running" in typed(blep, "llorch orchestrator start").must().out
    unbroken(blep, "llorch orchestrator status", "llorch orchestrator logs")
    unbroken(blep, "llorch orchestrator stop")
    config = blep.folder / "config" / "orchestrator.toml"
    config.write_text("")
    typed(blep, f"llorch orchestrator start --config {config}").must()
