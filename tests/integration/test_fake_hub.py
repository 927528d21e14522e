"""The fake hub is like the real one: the hub's own client downloads from it and hears its no."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.fake_hub import FakeHub, Generated

MODEL = b"GGUF" + bytes(range(256)) * 512
SPLIT = ("UD-Q8_0/big-00001-of-00002.gguf", "UD-Q8_0/big-00002-of-00002.gguf")
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "tiny-Q4_K_M.gguf": MODEL,
    SPLIT[0]: MODEL + b"1",
    SPLIT[1]: MODEL + b"2",
}
TOKEN = "hf_secret"
# One program asks everything, because importing the client takes longer than all of its questions.
CLIENT = """
import hashlib, json, sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

def said(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__

def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()

def info(repo):
    found = HfApi().model_info(repo, files_metadata=True)
    files = {f.rfilename: f.lfs.sha256 if f.lfs else None for f in found.siblings}
    return [found.sha, found.gated, files]

def snapshot(repo):
    root = Path(snapshot_download(repo))
    return {str(p.relative_to(root)): digest(p) for p in root.rglob("*") if p.is_file()}

def refs(repo):
    found = HfApi().list_repo_refs(repo)
    return {ref.name: ref.target_commit for ref in found.branches + found.tags}

def paths(repo):
    return [f.path for f in HfApi().get_paths_info(repo, ["README.md", "no"])]

def get(repo, file, revision=None):
    return digest(hf_hub_download(repo, file, revision=revision))

acts = {"info": info, "snapshot": snapshot, "refs": refs, "paths": paths, "get": get}
print(json.dumps([said(lambda: acts[name](*rest)) for name, *rest in json.loads(sys.argv[1])]))
"""


def ask_as_the_client(
    hub: FakeHub, home: Path, *questions: list[str], token: str = ""
) -> list[Any]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **({"HF_TOKEN": token} if token else {}),
    }
    program = [sys.executable, "-c", CLIENT, json.dumps(questions)]
    done = subprocess.run(
        program, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.mark.parametrize("redirects", [True, False])
def test_the_hubs_own_client_gets_every_file(tmp_path: Path, redirects: bool) -> None:
    with FakeHub(redirects=redirects, token=TOKEN) as hub:
        hub.page_size = 2
        first = hub.add("acme/tiny", FILES, license="mit")
        hub.tag("acme/tiny", "v1")
        later = hub.change("acme/tiny", "tiny-Q4_K_M.gguf", MODEL[::-1])
        answers = ask_as_the_client(
            hub,
            tmp_path,
            ["info", "acme/tiny"],
            ["snapshot", "acme/tiny"],
            ["refs", "acme/tiny"],
            ["paths", "acme/tiny"],
            ["get", "acme/tiny", "tiny-Q4_K_M.gguf", first],
            ["get", "acme/tiny", "tiny-Q4_K_M.gguf", "v1"],
            token=TOKEN,
        )
    now = {path: digest(data) for path, data in {**FILES, "tiny-Q4_K_M.gguf": MODEL[::-1]}.items()}
    large = {path: sha if path.endswith(".gguf") else None for path, sha in now.items()}
    assert answers == [
        [later, False, large],
        now,
        {"main": later, "v1": first},
        ["README.md"],
        digest(MODEL),
        digest(MODEL),
    ]
    asked = {seen.leg: seen.authorization for seen in hub.requests}
    assert asked == {"hub": f"Bearer {TOKEN}", **({"cdn": None} if redirects else {})}


def test_the_hubs_own_client_understands_every_no(tmp_path: Path) -> None:
    with FakeHub(token=TOKEN) as hub:
        hub.add("acme/open", FILES)
        hub.add("acme/terms", FILES, gated=True)
        hub.add("acme/unsigned", FILES, gated=True, accepted=False)
        hub.add("acme/hidden", FILES, private=True)
        questions = [
            ["get", "acme/open", "no.gguf"],
            ["get", "acme/open", "tiny-Q4_K_M.gguf", "no-such-branch"],
            ["get", "acme/nothing", "tiny-Q4_K_M.gguf"],
            ["get", "acme/hidden", "tiny-Q4_K_M.gguf"],
            ["get", "acme/terms", "tiny-Q4_K_M.gguf"],
            ["get", "acme/unsigned", "tiny-Q4_K_M.gguf"],
        ]
        without = ask_as_the_client(hub, tmp_path, *questions)
        with_token = ask_as_the_client(hub, tmp_path, *questions, token=TOKEN)
    entry, revision = "RemoteEntryNotFoundError", "RevisionNotFoundError"
    repository, gated = "RepositoryNotFoundError", "GatedRepoError"
    assert without == [entry, revision, repository, repository, gated, gated]
    good = digest(MODEL)
    assert with_token == [entry, revision, repository, good, good, gated]


def test_a_cut_answer_has_exactly_the_bytes_of_the_script(hub: FakeHub) -> None:
    hub.add("acme/tiny", FILES)
    hub.faults.cut_after(1000, times=1)
    received, url = bytearray(), hub.file_url("acme/tiny", "tiny-Q4_K_M.gguf")

    def download() -> None:
        with httpx.stream("GET", url, follow_redirects=True, trust_env=False) as answer:
            for piece in answer.iter_raw():
                received.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        download()
    assert received == MODEL[:1000]
    assert hub.sent_bytes("tiny-Q4_K_M.gguf") == 1000
    assert hub.faults.unused() == []


def test_ranges_are_answered_as_the_script_says(hub: FakeHub) -> None:
    hub.add("acme/tiny", FILES)
    with httpx.Client(follow_redirects=True, trust_env=False) as client:

        def ask(wanted: str, **headers: str) -> tuple[int, str | None, bytes]:
            url = hub.file_url("acme/tiny", "tiny-Q4_K_M.gguf")
            answer = client.get(url, headers={"range": wanted, **headers})
            return answer.status_code, answer.headers.get("content-range"), answer.content

        size = len(MODEL)
        assert ask("bytes=4-9") == (206, f"bytes 4-9/{size}", MODEL[4:10])
        assert ask("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", MODEL[100:])
        assert ask(f"bytes={size}-") == (416, f"bytes */{size}", b"")
        assert ask("bytes=4-9", **{"if-range": '"other"'}) == (200, None, MODEL)
        hub.faults.ignore_range()
        assert ask("bytes=4-9") == (200, None, MODEL)
        hub.faults.wrong_bytes()
        status, _, data = ask("bytes=0-")
        assert status == 206
        assert len(data) == size
        assert data != MODEL
        hub.faults.html()
        assert ask("bytes=0-")[2].startswith(b"<!doctype html>")
        hub.faults.status(429, retry_after=7)
        assert ask("bytes=0-")[0] == 429
        hub.faults.status(503, leg="cdn")
        assert ask("bytes=0-")[0] == 503
        hub.faults.expire_links()
        assert ask("bytes=0-")[0] == 403
        assert ask("bytes=0-3")[2] == b"GGUF"


def test_a_link_that_was_given_out_can_expire_and_a_forged_one_never_works(hub: FakeHub) -> None:
    hub.add("acme/tiny", FILES)
    with httpx.Client(trust_env=False) as client:
        answer = client.head(hub.file_url("acme/tiny", "tiny-Q4_K_M.gguf"))
        link = answer.headers["location"]
        assert link.startswith(hub.cdn_url)
        assert client.get(link).content == MODEL
        assert client.get(link.replace("tiny-Q4", "tiny-Q5")).status_code == 403
        hub.expire_issued_links()
        assert client.get(link).status_code == 403


def test_an_answer_waits_where_the_script_holds_it(hub: FakeHub) -> None:
    hub.add("acme/tiny", {"a.gguf": Generated(3_000_000, head=b"GGUF")})
    gate, received = threading.Event(), bytearray()
    hub.faults.hold(gate, after_bytes=500_000)
    url = hub.file_url("acme/tiny", "a.gguf")

    def download() -> None:
        received.extend(httpx.get(url, follow_redirects=True, trust_env=False).content)

    thread = threading.Thread(target=download)
    thread.start()
    held = hub.wait_for(lambda seen: seen.sent_bytes == 500_000)
    assert not held.ended
    gate.set()
    thread.join()
    assert digest(bytes(received)) == hub.sha256("acme/tiny", "a.gguf")


def test_a_drip_gives_one_step_for_each_opening_of_its_gate(hub: FakeHub) -> None:
    hub.add("acme/tiny", {"a.gguf": MODEL})
    gate = threading.Event()
    hub.faults.drip(1000, gate)
    url = hub.file_url("acme/tiny", "a.gguf")
    thread = threading.Thread(target=lambda: httpx.get(url, follow_redirects=True, trust_env=False))
    thread.start()
    for count in (1000, 2000, 3000):
        gate.set()
        hub.wait_for(lambda seen, count=count: seen.sent_bytes == count)
    hub.faults.let_go()
    thread.join()
    assert hub.sent_bytes("a.gguf") == len(MODEL)


def test_the_hub_closes_while_it_holds_an_answer_and_a_client_keeps_a_connection() -> None:
    with FakeHub() as hub, httpx.Client(follow_redirects=True, trust_env=False) as client:
        hub.add("acme/tiny", {"a.gguf": MODEL})
        hub.faults.hold(threading.Event())

        def ask() -> None:
            # Whether the rest still came through before the end is left open.
            with contextlib.suppress(httpx.HTTPError):
                client.get(hub.file_url("acme/tiny", "a.gguf"))

        thread = threading.Thread(target=ask)
        thread.start()
        hub.wait_for(lambda seen: seen.leg == "cdn" and seen.status == 200)
        hub.__exit__(None, None, None)
        thread.join()
