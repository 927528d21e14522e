"""Draws the state tables as charts, so that docs/state-machines.md can be held against them.

Run as a module to write the page anew: python -m orchestrator_core.testing.charts > PAGE
"""

import sys
from collections.abc import Mapping, Set
from enum import StrEnum
from typing import TypeVar

from orchestrator_core.cluster import pools, workers
from orchestrator_core.contracts.pool import PoolState, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.jobs import states

__all__ = ["render_page", "render_table"]

S = TypeVar("S", bound=StrEnum)

_HEAD = """# State machines

Drawn from the tables in the code; a test compares this page with them. To write it anew:
`python -m orchestrator_core.testing.charts > docs/state-machines.md`.
"""

_JOB = """## Job

`orchestrator_core.jobs.states`. A job ends exactly once. The edges back to `queued` are attempts
that came to nothing while the job may be tried again; it returns to its old place in the queue.
"""

_WORKER = """## Worker

`orchestrator_core.cluster.workers`. Reports of a pool are samples: a report may skip states along
these edges, and one that would need an edge that is not here is ignored and counted. A newer
incarnation (a new process) may be in any state.
"""

_POOL = """## Pool

`orchestrator_core.cluster.pools`. Suspect after 15 s without a beat: no new work goes there. Lost
after 45 s: its workers are forgotten, and only a new registration brings them back. Attempts whose
sockets still deliver go on in both. A pool that says that it is draining gets no new worker and no
new job, and what runs there runs on; a silent pool is suspect or lost whether it drains or not.
"""

# The course of a link is a matter of the orchestrator, above this room; a test there holds this
# chart against it.
_LINK = """## Link

`orchestratord.runtime.hosts.course`. The one SSH connection to a host. It is up once the pool has said
something that was taken. After a failure it is tried again, soon and then more slowly; what only a
person can mend (a key, a login, a token, a version) is told with what to do, and tried once a minute.

```mermaid
stateDiagram-v2
    [*] --> connecting
    connecting --> needs_attention
    connecting --> up
    needs_attention --> connecting
    needs_attention --> up
    up --> connecting
    up --> needs_attention
```
"""


def render_table(moves: Mapping[S, Set[S]], start: S) -> str:
    """One table as a mermaid chart; the states and edges come in a fixed order."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    reached = {target for targets in moves.values() for target in targets}
    for status, targets in moves.items():
        lines += [f"    {status} --> {target}" for target in sorted(targets)]
        if not targets:
            lines.append(f"    {status} --> [*]" if status in reached else f"    {status}")
    return "\n".join([*lines, "```", ""])


def render_page() -> str:
    """The whole page."""
    charts = [
        (_JOB, render_table(states.MOVES, JobStatus.QUEUED)),
        (_WORKER, render_table(workers.MOVES, WorkerStatus.STARTING)),
        (_POOL, render_table(pools.MOVES, PoolState.ONLINE)),
    ]
    return "\n".join([_HEAD, *(f"{text}\n{chart}" for text, chart in charts), _LINK])


if __name__ == "__main__":
    sys.stdout.write(render_page())
