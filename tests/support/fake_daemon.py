"""Stand-ins for the two daemons: real processes with lock, run file and health, and nothing else.

install() writes a program of a daemon's name; FAKE_DAEMON in its environment makes it misbehave:
`dies`, `stubborn` (ignores TERM), `silent` (never listens), `foreign` (another instance answers),
`lonely` (no pool is ever online).
"""

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.errors import Refusal
from orchestrator_core.platforms import files, runfiles, select, sockets

__all__ = ["install", "main"]

_PROGRAMS = {program.name: program for program in (ORCHESTRATORD, POOL_MANAGERD)}


def install(folder: Path, *names: str) -> Path:
    """Write the programs into a folder and return it."""
    tests = Path(__file__).resolve().parents[1]
    folder.mkdir(exist_ok=True)
    for name in names or tuple(_PROGRAMS):
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(tests)!r})\n"
            f"from support.fake_daemon import main\nmain({name!r})\n"
        )
        script.chmod(0o700)
    return folder


def main(name: str) -> None:
    """Be a daemon until TERM."""
    program, layout = _PROGRAMS[name], Layout.from_env(os.environ)
    manner = os.environ.get("FAKE_DAEMON", "")
    print(f"{name} starts with {sys.argv[1:]}", flush=True)
    if manner == "dies":
        print("the cellar is flooded", flush=True)
        sys.exit(7)
    files.ensure_folder(program.lock_of(layout).parent)
    lock = files.FileLock(program.lock_of(layout))
    if not lock.try_acquire():
        print(f"process {lock.holder_pid()} was first", flush=True)
        sys.exit(78)
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if manner == "silent":
        signal.pause()
    bind = os.environ.get(program.bind_variable, "127.0.0.1:0")
    listener = sockets.bind_listener(bind, select.current())
    if isinstance(listener, Refusal):
        print(listener.message, flush=True)
        sys.exit(78)
    _serve(name, layout, listener, "another" if manner == "foreign" else "i1")


def _serve(name: str, layout: Layout, listener: socket.socket, instance: str) -> None:
    me = select.current().identify(os.getpid())
    assert me is not None
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    _Handler.name, _Handler.layout, _Handler.instance = name, layout, instance
    run = RunFile(
        daemon=name,
        url=url,
        pid=me.pid,
        start_time=me.start_time,
        boot_id=me.boot_id,
        version="0.1.0",
        instance="i1",
    )
    runfiles.write(layout.run_folder, run)
    files.write_atomically(layout.admin_key, b"llorch_fake\n")
    server.serve_forever(poll_interval=0.02)


class _Handler(BaseHTTPRequestHandler):
    name = ""
    layout: Layout
    instance = ""

    def orchestrator_url(self) -> str | None:
        """Where a pool would report to: "local" means whoever this installation runs."""
        url = os.environ.get("LLORCH_POOL_ORCHESTRATOR_URL")
        if url != "local":
            return url
        run = runfiles.read_live(self.layout.run_folder, ORCHESTRATORD.name, select.current())
        return run.url if run else None

    def do_GET(self) -> None:
        pool = {
            "pool_id": "here", "version": "0.1.0", "devices": [], "workers": [], "models": [],
            "session_id": "s", "orchestrator_connected": True, "status": "online",
            "endpoint": "http://127.0.0.1:1", "last_seen_s": 0.1,
            "orchestrator_url": self.orchestrator_url(),
        }  # fmt: skip
        registered = runfiles.read_live(
            self.layout.run_folder, POOL_MANAGERD.name, select.current()
        )
        lonely = os.environ.get("FAKE_DAEMON") == "lonely"
        answers = {
            "/livez": {"status": "ok", "instance": self.instance},
            "/health": {"status": "ok", "instance": self.instance},
            "/status": pool,
            "/v2/pools": {"items": [pool] if registered and not lonely else []},
        }
        body = json.dumps(answers[self.path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""
