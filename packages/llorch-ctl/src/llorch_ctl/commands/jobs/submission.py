"""Composes a job from the flags of `jobs submit` and hands it in, exactly once whatever is cut."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final, cast

from llorch_ctl.commands.flag_values import checked
from llorch_ctl.commands.jobs.inputs import conversation, metadata, response_format
from llorch_ctl.commands.time_limit import TimeIsUp
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.console.render import Output
from orchestrator_core.contracts.tasks import TaskAccepted, TaskSubmit
from orchestrator_core.errors import LlorchError

__all__ = ["compose", "hand_in"]

_FLAGS: Final = {
    "session_id": "--session",
    "deadline_ms": "--deadline",
    "pin": "--pin-pool",
}


def compose(
    fields: Mapping[str, object],
    *,
    messages_from: str | None,
    system: str | None,
    deadline_s: float | None,
    pin_pool: str | None,
    format_from: str | None,
    pairs: Sequence[str],
) -> TaskSubmit:
    """Check a job before the call; a wrong flag is a usage error."""
    asked = conversation(
        prompt=cast("str | None", fields.get("prompt")),
        messages_from=messages_from,
        system=system,
        raw=bool(fields.get("raw")),
    )
    given = {
        **fields,
        "prompt": None,
        **asked,
        "stop": fields.get("stop") or None,
        "deadline_ms": None if deadline_s is None else max(1, round(deadline_s * 1000)),
        "pin": None if pin_pool is None else {"pool": pin_pool},
        "response_format": None if format_from is None else response_format(format_from),
        "metadata": metadata(pairs) or None,
    }
    return checked(TaskSubmit, given, _FLAGS, first="--prompt")


def hand_in(
    client: OrchestratorClient, task: TaskSubmit, out: Output, *, key: str | None
) -> TaskAccepted:
    """Submit the job; when nobody can tell whether it was taken, say how to find out."""
    key = key or f"llorch-{secrets.token_hex(16)}"
    cuts: list[str] = []

    def cut(reason: str) -> None:
        # One outage means many vain attempts; a person wants to hear of it once.
        if reason not in cuts:
            out.say(f"{reason}; trying again")
        cuts.append(reason)

    try:
        return client.submit(task, idempotency_key=key, on_cut=cut)
    except (KeyboardInterrupt, TimeIsUp):
        _warn(out, key)
        raise
    except LlorchError:
        if cuts:
            _warn(out, key)
        raise


def _warn(out: Output, key: str) -> None:
    out.warn(
        "no answer came, so the job may have been taken; the same command with "
        f"--idempotency-key {key} finds it or hands it in"
    )
