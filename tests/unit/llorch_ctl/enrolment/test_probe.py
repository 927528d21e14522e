"""What a host says of itself, honest or not."""

import subprocess

import pytest

from llorch_ctl.enrolment.probe import Probe, probe_script, read_probe
from orchestrator_core.errors import Code, Refusal

WORDS = """\
Welcome to mac!
os=Linux
arch=x86_64
kernel=6.1.0
hostname=mac
user=me
uid=1000
home=/users/me
shell=/usr/bin/fish
config_home=/users/me/.config
data_home=/users/me/.local/share
state_home=/srv/state
libc=glibc 2.36
memory_kib=16384
disk_kib=1024
avx2=yes
python=3.9.2 venv gomp /usr/bin/python3
python=3.12.1 bare no-gomp /opt/my python/bin/python3
python=3.12.1 bare no-gomp /opt/my python/bin/python3
python=lies and more lies
uv=0.8.3 /users/me/.local/bin/uv
gpu=NVIDIA RTX 3090, 24576 MiB, 550.1
systemd=yes
user_manager=yes
linger=no
port=free
current=releases/0.1.0-abc
version=0.1.0
joined=yes
time_s=1700000000
end=1
"""


def probed(text: str = WORDS) -> Probe:
    probe = read_probe(text)
    assert isinstance(probe, Probe), probe
    return probe


def test_everything_that_the_host_says_is_read() -> None:
    probe = probed()
    assert (probe.os, probe.user, probe.uid, probe.home) == ("Linux", "me", 1000, "/users/me")
    assert probe.platform == "linux-x86_64"
    assert probe.root == "/users/me/.local/share/llorch"
    assert probe.state_home == "/srv/state"
    assert probe.memory_bytes == 16 * 1024**2
    assert probe.disk_free_bytes == 1024**2
    assert probe.uv == "/users/me/.local/bin/uv"
    assert probe.uv_version == (0, 8)
    assert probe.gpus == ("NVIDIA RTX 3090, 24576 MiB, 550.1",)
    assert (probe.systemd, probe.user_manager, probe.lingers) == (True, True, False)
    assert (probe.port_taken, probe.current, probe.version) == (
        False,
        "releases/0.1.0-abc",
        "0.1.0",
    )
    assert probe.joined
    assert probe.time_s == 1_700_000_000


def test_interpreters_are_read_once_each_and_odd_lines_are_passed_over() -> None:
    first, second = probed().pythons
    assert (first.path, first.minor, first.makes_venv, first.has_gomp) == (
        "/usr/bin/python3",
        "3.9",
        True,
        True,
    )
    assert (second.path, second.version) == ("/opt/my python/bin/python3", (3, 12, 1))
    assert not second.makes_venv


@pytest.mark.parametrize("cut", [0, 1, 20, len(WORDS) - 7])
def test_an_answer_without_its_end_counts_for_nothing(cut: int) -> None:
    refusal = read_probe(WORDS[:cut])
    assert isinstance(refusal, Refusal)
    assert "did not answer the probe to its end" in refusal.message


def test_what_only_looks_like_an_end_is_none() -> None:
    assert isinstance(read_probe(WORDS.replace("end=1", "the end=1")), Refusal)


@pytest.mark.parametrize("key", ["os", "arch", "user", "uid", "home"])
def test_what_cannot_be_missing_is_named(key: str) -> None:
    lines = [line for line in WORDS.splitlines() if not line.startswith(f"{key}=")]
    refusal = read_probe("\n".join(lines))
    assert isinstance(refusal, Refusal)
    assert key in refusal.message


@pytest.mark.parametrize("home", ["home", "/ho'me", '/ho"me', "/ho\\me", "/home!"])
def test_a_home_that_cannot_be_quoted_everywhere_is_refused(home: str) -> None:
    refusal = read_probe(WORDS.replace("home=/users/me\n", f"home={home}\n", 1))
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST


def test_control_characters_never_leave_the_reading() -> None:
    text = WORDS.replace("hostname=mac", "hostname=\x1b[31mma\x07c\x9b" + "x" * 9000)
    name = probed(text).hostname
    assert name is not None
    assert name.isprintable()
    assert len(name) <= 400


def test_a_flood_is_cut_and_then_refused() -> None:
    assert isinstance(read_probe("noise=1\n" * 100_000 + WORDS), Refusal)


def test_numbers_that_are_none_are_unknown() -> None:
    probe = probed(WORDS.replace("disk_kib=1024", "disk_kib=-5").replace("=16384", "=\u0663"))
    assert probe.disk_free_bytes is None
    assert probe.memory_bytes is None


@pytest.mark.parametrize(
    ("os", "arch", "platform"),
    [
        ("Linux", "aarch64", "linux-aarch64"),
        ("Darwin", "arm64", "macos-arm64"),
        ("Darwin", "x86_64", None),
        ("Linux", "riscv64", None),
        ("FreeBSD", "amd64", None),
    ],
)
def test_the_platform_is_named_as_the_wheels_are(os: str, arch: str, platform: str | None) -> None:
    text = WORDS.replace("os=Linux", f"os={os}").replace("arch=x86_64", f"arch={arch}")
    assert probed(text).platform == platform


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_runs_here_and_answers_to_its_end(shell: str) -> None:
    script = probe_script(port=1, home="/a b/'c' $(touch /tmp/never)")
    done = subprocess.run(
        [shell, "-s"], input=script, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    probe = probed(done.stdout)
    assert probe.pythons
    assert probe.port_taken is False
    assert probe.time_s
