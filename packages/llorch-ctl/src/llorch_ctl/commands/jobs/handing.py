"""Runs `jobs submit` once the job is composed: hand it in, then leave it or follow it."""

from dataclasses import dataclass

from llorch_ctl.commands.jobs.following import Follower, attend, cancel_followed
from llorch_ctl.commands.jobs.submission import hand_in
from llorch_ctl.commands.jobs.views import TextView, WholeJob
from llorch_ctl.commands.time_limit import TimeIsUp, time_limit
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.console.exits import complain
from orchestrator_core.console.render import Format, Output
from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import Code, Exit, PeerError, Refusal

__all__ = ["Handing", "run"]

# An alarm of no length would never ring.
_SHORTEST_S = 0.001


@dataclass(frozen=True, slots=True)
class Handing:
    """How a job is handed in: under which key, and how long somebody waits for it."""

    key: str | None
    detach: bool
    timeout_s: float | None


def run(client: OrchestratorClient, task: TaskSubmit, handing: Handing, out: Output) -> int:
    """Hand the job in and do with it what was asked; tells the exit code."""
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    try:
        with time_limit(handing.timeout_s):
            accepted = hand_in(client, task, out, key=handing.key)
    except TimeIsUp:
        return complain(PeerError(Refusal(Code.TIMEOUT, "no answer came in time")))
    if handing.detach:
        if out.shape is Format.TABLE:
            out.text(accepted.job_id)
        else:
            out.record(accepted.model_dump(mode="json"), ())
        return Exit.OK
    left_s = None
    if handing.timeout_s is not None:
        left_s = max(_SHORTEST_S, handing.timeout_s - (clock.monotonic_s() - begun_s))
    view = TextView(out) if out.shape is Format.TABLE else WholeJob(out)
    follower = Follower(client, accepted.job_id, out, view)
    return attend(
        follower,
        out,
        timeout_s=left_s,
        on_interrupt=lambda: cancel_followed(follower, out),
        stays=not task.cancel_on_disconnect,
    )
