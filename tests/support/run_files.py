"""The run file of a daemon that the test plays itself: its process is the test's own."""

import os

from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.platforms import runfiles, select

__all__ = ["announce"]


def announce(layout: Layout, daemon: str, url: str) -> RunFile:
    """Write what a daemon writes when it begins to answer."""
    me = select.current().identify(os.getpid())
    assert me is not None
    run = RunFile(
        daemon=daemon,
        url=url,
        pid=me.pid,
        start_time=me.start_time,
        boot_id=me.boot_id,
        version="1",
        instance="i1",
    )
    runfiles.write(layout.run_folder, run)
    return run
