"""Programs that stand in for a worker and misbehave in one way; each is a script of its own.

They take llama-server's flags, keep the key, and answer as an engine would except for their oddity.
"""

import sys
from pathlib import Path
from typing import Final

__all__ = ["ODDITIES", "odd_worker"]

_TEMPLATE: Final = """#!{python}
import argparse, json, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--api-key-file", type=Path)
args, _ = parser.parse_known_args()
KEY = args.api_key_file.read_text().strip()
STEPS = Path(__file__).with_suffix(".steps")


def loading():
    return False


def metrics():
    return "llamacpp:requests_processing 0\\nllamacpp:n_decode_total 0\\n"


def answer(handler):
    handler.reply(200, json.dumps({{"choices": [{{"text": "a"}}]}}))

{oddity}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if loading():
            return self.reply(503, "{{}}")
        if self.path == "/health":
            return self.reply(200, "{{}}")
        if self.headers.get("authorization") != f"Bearer {{KEY}}":
            return self.reply(401, "{{}}")
        self.reply(200, metrics() if self.path == "/metrics" else "{{}}")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        answer(self)


print(json.dumps({{"event": "listening", "version": "odd"}}), flush=True)
ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
"""

ODDITIES: Final = {
    "sound": "",
    # Hears TERM and goes on.
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    # Says that it loads and does nothing at all.
    "stuck": "def loading(): return True\n",
    # Loads as slowly as the test lets it: one line in the log per step.
    "slow": """
def loading():
    return not STEPS.with_suffix(".done").exists()


def work():
    while loading():
        time.sleep(0.05)
        print("loading another tensor", flush=True)

threading.Thread(target=work, daemon=True).start()
""",
    # Health is green, and no token ever comes.
    "silent": "def answer(handler): threading.Event().wait()\n",
    # Health is green, and answers are empty.
    "empty": "def answer(handler): handler.reply(200, json.dumps({'choices': []}))\n",
    # Ready once; then a slot is busy for ever and nothing moves.
    "wedged": """
def metrics():
    busy = int(STEPS.exists())
    return f"llamacpp:requests_processing {busy}\\nllamacpp:n_decode_total 7\\n"
""",
    # Works for ever without a break.
    "busy": """
def metrics():
    steps = int(STEPS.read_text()) if STEPS.exists() else 0
    STEPS.write_text(str(steps + 1))
    return f"llamacpp:requests_processing 1\\nllamacpp:n_decode_total {steps}\\n"
""",
    # Has a process of its own that knows nothing of its parent's end, and hears no TERM.
    "parent": """
import subprocess
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", deaf])
STEPS.write_text(str(child.pid))
""",
    # Ends in the same way right after every start that follows its first one.
    "frail": """
if STEPS.exists():
    print("fatal: the same fault again", flush=True)
    sys.exit(7)
STEPS.touch()
""",
}


def odd_worker(folder: Path, oddity: str) -> Path:
    """Write the program with this oddity."""
    program = folder / f"{oddity}-worker"
    program.write_text(_TEMPLATE.format(python=sys.executable, oddity=ODDITIES[oddity]), "utf-8")
    program.chmod(0o700)
    return program
