"""Speaks to `remote-exec` as a caller does, but through a shell of this machine instead of SSH."""

import contextlib
import json
import os
import selectors
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator_core.errors import Refusal
from orchestrator_core.stream.remote_frames import (
    FrameReader,
    Kind,
    MagicFinder,
    RemoteCall,
    frame,
    frames_of,
    request_body,
)

__all__ = ["Conversation", "Heard", "echoing_pool", "pool_program"]

_SERVING = """\
#!{python} -I
import os, sys
from pathlib import Path
from typing import Any
sys.path[:0] = {paths}
from pool_ctl.remote.serving import Door, Patience, serve
assert sys.argv[1:] == ["remote-exec"], sys.argv
door = Door(Path({program}), dict(os.environ), {version!r})
serve(door, Patience(lease_s={lease_s}, grace_s={grace_s}))
"""
_ECHO = """\
import json, os, sys
env = {name.decode(): value.hex() for name, value in os.environb.items()
       if name.startswith((b"LLORCH_", b"LC_"))}
argv = [os.fsencode(word).hex() for word in sys.argv[1:]]
print(json.dumps({"argv": argv, "env": env, "cwd": os.getcwd()}))
sys.stdout.flush()
data = sys.stdin.buffer.read()
sys.stderr.buffer.write(data)
sys.exit(len(data) % 100)
"""


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def pool_program(
    path: Path, text: str, *, lease_s: float = 20.0, grace_s: float = 5.0, version: str = ""
) -> Path:
    """A llorch-pool in this place whose remote-exec is the real one and runs this Python text."""
    inner = _script(path.with_name("inner") / "program.py", f"#!{sys.executable} -I\n{text}")
    paths = [it for it in sys.path if it]
    serving = _SERVING.format(
        python=sys.executable,
        paths=paths,
        program=repr(str(inner)),
        lease_s=lease_s,
        grace_s=grace_s,
        version=version,
    )
    return _script(path, serving)


def echoing_pool(path: Path) -> Path:
    """A llorch-pool that prints what it was called with, and gives stdin back on stderr."""
    return pool_program(path, _ECHO)


@dataclass
class Heard:
    """What came back."""

    out: bytes = b""
    err: bytes = b""
    code: int | None = None
    preamble: bytes = b""
    taken_bytes: int = 0
    kinds: list[Kind] = field(default_factory=list)

    def call(self) -> dict[str, Any]:
        """What the echoing program says it was called with."""
        return json.loads(self.out)


class Conversation:
    """One command line of one shell under way."""

    def __init__(self, shell: Iterable[str], command: str, *, cwd: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [*shell, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd or Path.cwd())},
            cwd=cwd,
            start_new_session=True,
        )
        self._finder = MagicFinder()
        self._reader = FrameReader()
        self.heard = Heard()
        self.noise = b""

    @property
    def pid(self) -> int:
        """Of the shell, or of what took its place."""
        return self._process.pid

    def greet(self) -> None:
        """Wait for the magic."""
        self._listen(lambda: self._finder.found)
        assert self._finder.found, f"no magic, but {self._finder.end()!r} and {self.noise!r}"
        self.heard.preamble = self._finder.preamble

    def ask(self, call: RemoteCall, stdin: bytes = b"") -> None:
        """Send the request, and its input after it."""
        body = request_body(call)
        assert not isinstance(body, Refusal), body
        self.send(frame(Kind.REQUEST, body), *frames_of(Kind.STDIN, stdin), frame(Kind.STDIN_END))

    def send(self, *frames: bytes) -> None:
        """Send frames as they are."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(frames))
        self._process.stdin.flush()

    def hang_up(self) -> None:
        """End its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def hear_out(self, what: bytes) -> None:
        """Wait until this much of the output has come."""
        self._listen(lambda: what in self.heard.out)

    def end(self) -> Heard:
        """Wait for the exit code, or for the end of the process where none comes."""
        self._listen(lambda: self.heard.code is not None)
        return self.heard

    def wait(self) -> int:
        """Wait for the process itself."""
        return self._process.wait(timeout=30)

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, is_enough: Callable[[], bool]) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, self._take)
            selector.register(self._process.stderr, selectors.EVENT_READ, self._take_noise)
            while not is_enough() and selector.get_map():
                ready = selector.select(30)
                assert ready, f"nothing has come for 30 s; so far {self.heard}, {self.noise!r}"
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if data:
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)

    def _take_noise(self, data: bytes) -> None:
        self.noise += data

    def _take(self, data: bytes) -> None:
        rest = self._finder.feed(data)
        if not self._finder.found:
            return
        for kind, body in self._reader.feed(rest):
            self.heard.kinds.append(kind)
            if kind is Kind.STDOUT:
                self.heard.out += body
            elif kind is Kind.STDERR:
                self.heard.err += body
            elif kind is Kind.EXIT:
                self.heard.code = int(body)
            elif kind is Kind.STDIN_TAKEN:
                self.heard.taken_bytes += int(body)
