"""llorch-pool models as a person uses it: a real hub on the loopback, with a daemon and without."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.answers import chat_answers
from support.fake_hub import FakeHub
from support.home import Finished, Home
from support.pool_commands import spawn, workers
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

PROGRAM = Path(sys.executable).parent / "llorch-pool"
REPO = "org/tiny-GGUF"
STORY = "hf:org/story-GGUF:Q8_0"
CATALOG = """
[[models]]
id = "small"
name = "Small"
aliases = ["little"]
trained_ctx = 1024
[models.file]
source = "hub"
repo = "org/tiny-GGUF"
file = "tiny.Q8_0.gguf"

[[models]]
id = "small-fp16"
trained_ctx = 1024
[models.file]
source = "hub"
repo = "org/tiny-GGUF"
file = "tiny.F16.gguf"

[[models]]
id = "raw"
trained_ctx = 1024
requires_conversion = true
[models.file]
source = "hub"
repo = "org/raw"
file = "raw.gguf"
"""


def tiny(name: str) -> bytes:
    """A model that comes with the suite, as content of a repository."""
    from pool_core.catalog.builtin import BuiltinModels

    return (BuiltinModels().folder / f"{name}.gguf").read_bytes()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, {"tiny.Q8_0.gguf": tiny("tiny-chat"), "tiny.F16.gguf": tiny("tiny-story")})
        hub.add("org/story-GGUF", {"tiny-story.Q8_0.gguf": tiny("tiny-story")})
        hub.add("org/raw", {"model.safetensors": b"x" * 100})
        hub.add("org/closed-GGUF", {"closed.Q8_0.gguf": tiny("tiny-story")}, gated=True)
        yield hub


@pytest.fixture
def direct(hub: FakeHub, tmp_path: Path) -> Iterator[Home]:
    """An installation whose hub is the test's and whose user knows three models more."""
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": ""}
    home = Home(tmp_path / "home", env)
    config = home.folder / "config"
    config.mkdir(parents=True)
    (config / "catalog.toml").write_text(CATALOG)
    yield home
    hub.faults.let_go()
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


@pytest.fixture
def daemon(direct: Home) -> Home:
    """The same with a running pool-managerd."""
    direct.pool("daemon", "start").must()
    return direct


@pytest.fixture(params=["direct", "daemon"])
def home(request: pytest.FixtureRequest) -> Home:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Home)
    return found


def data(done: Finished) -> dict[str, object]:
    tree = done.must().json()
    assert isinstance(tree, dict)
    return tree


def listed(home: Home) -> list[str]:
    rows = home.pool("models", "list", "--format", "json").must().json()
    assert isinstance(rows, list)
    return sorted(row["id"] for row in rows if row["source"] != "builtin")


def blob_of(home: Home, model: dict[str, object]) -> Path:
    files = model["files"]
    assert isinstance(files, list)
    return home.folder / "data" / "models" / "blobs" / str(files[0]["sha256"])


def damage(path: Path) -> None:
    """Change one byte, as a failing disk would."""
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 0xFF]))


def needs(info: dict[str, object]) -> list[tuple[object, ...]]:
    fits = info["fits"]
    assert isinstance(fits, list)
    assert fits
    return [(fit["device_id"], fit["needed_bytes"], fit["fits"]) for fit in fits]


def fetch(home: Home, *models: str) -> None:
    home.pool("models", "download", *models).must()


def damage_small(home: Home) -> None:
    damage(blob_of(home, data(home.pool("models", "download", "small", "--format", "json"))))


# The verbs of the script that came before in the order of one long day, and what each should have
# ended with.
ORIGINAL = {
    "no verb": ((), 0, "Commands:"),
    "an unknown verb": (("convert", "small"), 2, "No such command"),
    "list": (("list",), 0, "tiny-chat"),
    "catalog": (("catalog",), 0, "tinyllama"),
    "info of what is not here": (("info", "small"), 0, "llama"),
    "info of an unknown name": (("info", "smal"), 3, "small"),
    "verify of what is not here": (("verify", "small"), 1, "download small"),
    "delete of what is not here": (("delete", "small", "--force"), 1, "small"),
    "delete of what comes along": (("delete", "tiny-chat", "--force"), 1, "tiny-chat"),
    "download of an unknown name": (("download", "smal"), 3, "small"),
    "download of what must be converted": (("download", "raw"), 1, "convert_hf_to_gguf"),
    "download by name": (("download", "small"), 0, "902 KiB fetched"),
    "download of what is here": (("download", "small"), 0, "here already"),
    "download --force": (("download", "small", "--force"), 0, "902 KiB fetched"),
    "info of what is here": (("info", "small"), 0, "Here             yes"),
    "verify": (("verify", "small"), 0, "ok"),
    "disk-usage": (("disk-usage",), 0, "small"),
    "delete unasked": (("delete", "small"), 2, "--force"),
    "verify of a damaged file": (("verify", "small"), 1, "damaged"),
    "delete --force": (("delete", "small", "--force"), 0, "freed"),
}


def test_each_verb_of_the_original_ends_as_it_should_have(direct: Home) -> None:
    for name, (argv, code, word) in ORIGINAL.items():
        if name == "verify of a damaged file":
            damage_small(direct)
        done = direct.pool("models", *argv)
        assert done.code == code, f"{name}: {done.code}, {done.err}"
        assert word in done.out + done.err, f"{name}: {done.out}{done.err}"
        assert "Traceback" not in done.err
    assert listed(direct) == []


def test_a_model_from_its_name_to_its_end(home: Home, hub: FakeHub) -> None:
    known = home.pool("models", "catalog", "--format", "json").must().json()
    assert isinstance(known, list)
    assert {"small", "small-fp16", "raw", "tinyllama"} <= {row["id"] for row in known}
    before = data(home.pool("models", "info", "small", "--format", "json"))
    assert (before["is_here"], before["architecture"], before["trained_ctx"]) == (
        False,
        "llama",
        1024,
    )
    assert hub.sent_bytes("tiny.Q8_0.gguf") <= 128 * 1024
    fetched = home.pool("models", "download", "little", "small-fp16").must()
    assert "small is here" in fetched.err
    assert listed(home) == ["small", "small-fp16"]
    after = data(home.pool("models", "info", "small", "--format", "json"))
    assert after["is_here"]
    assert needs(after) == needs(before)
    usage = data(home.pool("models", "disk-usage", "--format", "json"))
    assert usage["model_bytes"] == len(tiny("tiny-chat")) + len(tiny("tiny-story"))
    home.pool("models", "verify").must()
    home.pool("models", "delete", "small", "--force").must()
    assert listed(home) == ["small-fp16"]
    home.pool("models", "verify", "small-fp16").must()
    spared = data(home.pool("models", "delete", "--to-free", "1MiB", "--force", "--format", "json"))
    assert spared["deleted"] == []
    assert "small-fp16" in str(spared["kept"])


def test_a_worker_starts_from_what_was_fetched_by_reference_and_protects_it(home: Home) -> None:
    refused = home.pool("worker", "spawn", "cpu", "--model", STORY).must(1)
    assert "llorch-pool models download" in refused.err
    stored = data(home.pool("models", "download", STORY, "--format", "json"))
    assert stored["id"] == STORY
    worker = spawn(home, STORY)
    assert worker["model"] == STORY
    key = Path(str(worker["key_file"])).read_text().strip()
    prompt, answer = next(iter(chat_answers("tiny-story").items()))
    body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0}
    bearer = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{worker['port']}", trust_env=False) as client:
        said = client.post("/v1/chat/completions", json=body, headers=bearer, timeout=60).json()
    assert said["choices"][0]["message"]["content"] == answer
    held = home.pool("models", "delete", STORY, "--force").must(1)
    assert "worker-cpu-0" in held.err
    assert [row["name"] for row in workers(home)] == ["worker-cpu-0"]
    home.pool("worker", "stop", "worker-cpu-0").must()
    home.pool("models", "delete", STORY, "--force").must()
    assert listed(home) == []


def test_what_a_disk_has_damaged_is_found_and_fetched_anew(daemon: Home) -> None:
    stored = data(daemon.pool("models", "download", "small", "--format", "json"))
    damage(blob_of(daemon, stored))
    found = daemon.pool("models", "verify", "small").must(1)
    assert "damaged" in found.out
    assert "llorch-pool models download small --force" in found.err
    daemon.pool("worker", "spawn", "cpu", "--model", "small").must(1)
    daemon.pool("models", "download", "small", "--force").must()
    daemon.pool("models", "verify", "small").must()


def test_a_file_of_the_host_becomes_a_model(home: Home, tmp_path: Path) -> None:
    own = tmp_path / "My Model.gguf"
    own.write_bytes(tiny("tiny-chat"))
    imported = home.pool("models", "import", str(own), "--id", "mine").must()
    assert "mine" in imported.out
    home.pool("models", "import", str(own), "--id", "mine").must()
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny("tiny-story"))
    clash = home.pool("models", "import", str(other), "--id", "mine").must(1)
    assert "CONFLICT" in clash.err
    home.pool("models", "import", str(tmp_path / "none.gguf")).must(3)
    text = tmp_path / "text.gguf"
    text.write_text("no model")
    home.pool("models", "import", str(text)).must(1)
    assert listed(home) == ["mine"]
    home.pool("models", "delete", "mine", "--force").must()
    assert own.read_bytes() == tiny("tiny-chat")


def test_what_a_hub_does_not_give_has_exit_codes_of_its_own_through_the_daemon_too(
    daemon: Home,
) -> None:
    daemon.env["HF_TOKEN"] = "not-that-of-the-daemon"
    closed = daemon.pool("models", "download", "hf:org/closed-GGUF:Q8_0").must(4)
    assert "pool-managerd keeps to the HF_TOKEN that it was started with" in closed.err
    daemon.pool("models", "download", "hf:org/tiny-GGUF:Q2_K").must(3)
    daemon.pool("models", "download", "hf:org/nowhere-GGUF:Q8_0").must(3)
    assert listed(daemon) == []


def test_without_a_hub_a_download_says_so(direct: Home) -> None:
    direct.env["HF_ENDPOINT"] = "http://127.0.0.1:1"
    assert "127.0.0.1:1" in direct.pool("models", "download", "small").must(5).err


def downloading(home: Home, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(PROGRAM), "models", "download", *args],
        env=home.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hold_half(hub: FakeHub, file: str = "tiny.Q8_0.gguf") -> threading.Event:
    """Let the hub send half of a file and then wait for the test."""
    gate = threading.Event()
    half = len(tiny("tiny-chat")) // 2
    hub.faults.hold(
        gate, when=lambda seen: seen.file == file and seen.leg == "cdn", after_bytes=half
    )
    return gate


def wait_for_half(hub: FakeHub) -> None:
    half = len(tiny("tiny-chat")) // 2
    hub.wait_for(lambda seen: seen.file == "tiny.Q8_0.gguf" and seen.sent_bytes >= half)


def test_ctrl_c_keeps_what_was_fetched_and_the_next_download_goes_on_from_there(
    home: Home, hub: FakeHub
) -> None:
    gate = hold_half(hub)
    with downloading(home, "small") as process:
        wait_for_half(hub)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        gate.set()
    assert (process.returncode, out) == (130, "")
    assert "llorch-pool models download small goes on from there" in err
    assert listed(home) == []
    fetch(home, "small")
    assert hub.sent_bytes("tiny.Q8_0.gguf") < 1.6 * len(tiny("tiny-chat"))
    home.pool("models", "verify", "small").must()


def test_a_download_outlives_the_daemon_that_began_it(daemon: Home, hub: FakeHub) -> None:
    gate = hold_half(hub)
    with downloading(daemon, "small") as process:
        wait_for_half(hub)
        daemon.pool("daemon", "stop").must()
        gate.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "small" in out
    assert "pool-managerd has ended: the download goes on without it" in err
    daemon.pool("models", "verify", "small").must()


def test_a_detached_download_is_the_daemons_alone(daemon: Home, hub: FakeHub) -> None:
    gate = hold_half(hub)
    daemon.pool("models", "download", "small", "--detach").must()
    wait_for_half(hub)
    assert "small: transferring" in daemon.pool("models", "list").must().err
    gate.set()
    fetch(daemon, "small")
    assert listed(daemon) == ["small"]


def test_nobody_is_left_a_download_without_a_daemon(direct: Home) -> None:
    refused = direct.pool("models", "download", "small", "--detach").must(5)
    assert "llorch-pool daemon start" in refused.err


def test_two_commands_that_want_one_model_transfer_it_once(direct: Home, hub: FakeHub) -> None:
    with downloading(direct, "small") as one, downloading(direct, "small") as other:
        assert {one.wait(60), other.wait(60)} == {0}
    assert hub.sent_bytes("tiny.Q8_0.gguf") == len(tiny("tiny-chat"))


def test_a_setup_brings_a_fresh_host_its_first_model(direct: Home) -> None:
    first = data(direct.pool("dev", "setup", "--model", "small", "--format", "json"))
    steps = first["steps"]
    assert isinstance(steps, list)
    assert {step["subject"]: step["state"] for step in steps}["model"] == "done"
    assert listed(direct) == ["small"]
    direct.pool("dev", "setup", "--model", "small").must()
    direct.pool("dev", "setup", "--model", "nosuch").must(1)
