"""Composition root of llorch-worker: check everything, start the engine, wait, drain, leave."""

import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llorch_worker.settings import engine_version, parse

if TYPE_CHECKING:
    from llorch_worker.engine.embedded import Engine

__all__ = ["main"]

_CPUINFO: Final = Path("/proc/cpuinfo")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; leaves with 0 after a stop, 1 for a failed start, 2 for bad usage."""
    settings = parse(sys.argv[1:] if argv is None else argv)
    # The engine and psutil are imported late, so that --help answers at once.
    from llorch_worker.engine import checks, embedded, requirements

    cpuinfo = _CPUINFO.read_text("utf-8", "replace") if _CPUINFO.exists() else ""
    lack = requirements.missing_instructions(platform.machine(), cpuinfo)
    if lack:
        return _fail(lack)
    ready = checks.examine(settings)
    if isinstance(ready, str):
        return _fail(ready)
    # A failed assertion of the engine would otherwise start a debugger to print a backtrace.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    # The engine holds the interpreter while it loads: Python's own answer to Ctrl-C would wait.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        engine = embedded.start(settings, ready.keys, ready.threads)
    except ImportError as error:
        return _fail(requirements.explain_import_failure(str(error)))
    except embedded.EngineError as error:
        return _fail(f"the engine could not start with {settings.model}: {error}")
    _serve(engine)
    return 0


def _serve(engine: "Engine") -> None:
    from llorch_worker.serving.shutdown import StopSignals, drain

    # Until here a stop signal ends the process at once: nobody has been promised an answer yet.
    signals = StopSignals()
    _say({"event": "listening", "url": engine.url, "version": engine_version()})
    signals.wait()
    _say({"event": "draining"})
    code = drain(signals, engine.is_busy)
    _say({"event": "stopped", "exit_code": code})
    # An ordinary exit would delete the server, which freezes while a request is in flight.
    os._exit(code)


def _say(fact: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"llorch-worker: error: {reason}\n")
    return 1
