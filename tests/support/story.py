"""What has happened so far in a scenario that is told in steps: one home and its commands."""

import subprocess
from dataclasses import dataclass, field
from typing import Any, cast

import psutil

from support.home import Finished, Home

__all__ = ["Story"]


@dataclass
class Story:
    """What has happened so far in a scenario."""

    home: Home
    finished: Finished | None = None
    streaming: subprocess.Popen[str] | None = None
    frozen: list[psutil.Process] = field(default_factory=list)
    waiting_job: str = ""
    holder: Home | None = None
    """The same home with the key of somebody else."""

    @property
    def last(self) -> Finished:
        """The command that ran last."""
        assert self.finished is not None
        return self.finished

    def submit(self, prompt: str, model: str = "tiny-chat") -> None:
        """Ask a question by the command and wait for its answer."""
        self.run("jobs", "submit", "--model", model, "--prompt", prompt)

    def run(self, *args: str) -> None:
        """Run a command of a person of this home."""
        self.finished = self.home.llorch(*args)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, newest first."""
        shown = self.home.llorch("jobs", "list", "--format", "json").must().json()
        return cast("list[dict[str, Any]]", shown)

    def count(self, status: str) -> int:
        """How many jobs are in this state."""
        return sum(job["status"] == status for job in self.jobs())
