"""Runs this machine's llorch-pool towards the pool-managerd of a host, with the key of that host."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["answers", "find_llorch_pool", "http_env", "read_key", "run_here"]

_PROGRAM: Final = "llorch-pool"
_ANSWER_TIMEOUT_S: Final = 3.0
_KEY_MAX_BYTES: Final = 4096
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)


def find_llorch_pool(env: Mapping[str, str], interpreter: Path | None = None) -> Path | Refusal:
    """Find the program beside our interpreter, then on PATH."""
    beside = (interpreter or Path(sys.executable)).parent / _PROGRAM
    if beside.is_file():
        return beside
    found = shutil.which(_PROGRAM, path=env.get("PATH"))
    if found is not None:
        return Path(found)
    line = (
        f"--via http needs {_PROGRAM} on this machine: pip install 'llorch-ctl[all]', "
        "or take --via ssh"
    )
    return Refusal(Code.INTERNAL, line)


def http_env(env: Mapping[str, str], *, url: str, key: str, ca: Path | None) -> dict[str, str]:
    """The environment in which llorch-pool asks that daemon, and no other, with that key."""
    told = dict(env) | {"LLORCH_POOL_URL": url, "LLORCH_API_KEY": key}
    if ca is not None:
        told["LLORCH_CA_FILE"] = str(ca)
    return told


def read_key(file: Path) -> str | Refusal:
    """The key in a file of the person's own."""
    try:
        with file.open("rb") as stream:
            text = stream.read(_KEY_MAX_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no key"
        return Refusal(Code.NO_KEY, f"cannot read the key in {file}: {reason}")
    return text or Refusal(Code.NO_KEY, f"cannot read the key in {file}: it is empty")


async def answers(host: str, port: int, *, timeout_s: float = _ANSWER_TIMEOUT_S) -> str | None:
    """Why nobody answers at an address; None when somebody does."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"nobody answers within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


async def run_here(program: Path, argv: tuple[str, ...], env: Mapping[str, str]) -> int:
    """Run it with our own stdin, stdout and stderr until it ends; its exit code is ours."""
    process = await asyncio.create_subprocess_exec(program, *argv, env=dict(env))
    loop = asyncio.get_running_loop()
    # At a terminal Ctrl-C reaches the program as well: it decides, and a second one would cut it.
    passed_on = _PASSED_ON if _is_at_terminal() else (*_PASSED_ON, signal.SIGINT)
    for number in (signal.SIGINT, *_PASSED_ON):
        loop.add_signal_handler(number, _pass, process, number if number in passed_on else None)
    try:
        code = await process.wait()
    finally:
        for number in (signal.SIGINT, *_PASSED_ON):
            loop.remove_signal_handler(number)
    return code if code >= 0 else 128 - code


def _pass(process: asyncio.subprocess.Process, number: int | None) -> None:
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def _is_at_terminal() -> bool:
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            if os.tcgetpgrp(fd) == os.getpgrp():
                return True
    return False
