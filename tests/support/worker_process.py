"""One real llorch-worker under test: started by its command line, driven over HTTP."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from pool_core.catalog import builtin

__all__ = ["KEY", "MODELS", "PROGRAM", "RunningWorker", "run_worker", "try_worker", "write_key"]

PROGRAM = Path(sys.executable).parent / "llorch-worker"
MODELS = Path(builtin.__file__).parent / "models"
KEY = "a-key-that-only-this-test-knows"


def write_key(folder: Path, text: str = KEY, mode: int = 0o600) -> Path:
    """A key file with this mode."""
    path = folder / "worker.key"
    path.write_text(f"{text}\n", "utf-8")
    path.chmod(mode)
    return path


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def try_worker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that is expected to end by itself."""
    argv = [str(PROGRAM), *args]
    return subprocess.run(
        argv, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )


class RunningWorker:
    """A worker that listens."""

    def __init__(self, process: subprocess.Popen[str], url: str, announced: dict[str, str]) -> None:
        self.process = process
        self.url = url
        self.announced = announced
        self.client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            trust_env=False,
            # The engine closes kept connections after a stream without a word.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def chat(self, prompt: str, **fields: object) -> str:
        """The whole answer to one user message, put together from its stream."""
        body: dict[str, object] = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 700,
            "stream": True,
            **fields,
        }
        with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            return "".join(deltas(answer.iter_lines()))


def deltas(lines: Iterator[str]) -> Iterator[str]:
    """The text of every chunk of a chat stream."""
    for line in lines:
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                yield choice["delta"].get("content") or ""


@contextlib.contextmanager
def run_worker(folder: Path, *args: str, model: str = "tiny-chat") -> Iterator[RunningWorker]:
    """Start a worker on a free port and end it with the block."""
    argv = [str(PROGRAM), "--model", str(MODELS / f"{model}.gguf"), "--alias", model]
    argv += ["--api-key-file", str(write_key(folder)), "--threads", "1", *args]
    with subprocess.Popen(
        argv, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            announced = json.loads(process.stdout.readline())
            worker = RunningWorker(process, announced["url"], announced)
            with worker.client:
                yield worker
        finally:
            with contextlib.suppress(psutil.Error):
                psutil.Process(process.pid).resume()
            process.kill()
