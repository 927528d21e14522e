"""The helper program by itself: it answers lines, and it never outlives its parent."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_core.devices.nvidia import HELPER_ARGV
from support.stub_gpus import StubGpus, build_stub, gpu_id
from support.waiting import until_sync


@pytest.fixture
def gpus(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> StubGpus:
    gpus = StubGpus(build_stub(tmp_path_factory), tmp_path / "gpus.txt")
    gpus.record_calls()
    return gpus


@pytest.fixture
def helper(gpus: StubGpus) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        HELPER_ARGV,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, **gpus.env},
    ) as process:
        yield process
        process.kill()


def put(helper: subprocess.Popen[bytes], line: bytes) -> None:
    assert helper.stdin is not None
    helper.stdin.write(line)


def test_every_line_gets_one_line_of_json(helper: subprocess.Popen[bytes]) -> None:
    assert helper.stdout is not None
    for _ in range(2):
        put(helper, b"look\n")
        answer = json.loads(helper.stdout.readline())
        assert [gpu["uuid"] for gpu in answer["gpus"]] == [gpu_id(0), gpu_id(1)]


def test_ends_with_its_parent(helper: subprocess.Popen[bytes]) -> None:
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(30) == 0


def test_ends_with_its_parent_even_while_the_driver_hangs(
    helper: subprocess.Popen[bytes], gpus: StubGpus
) -> None:
    gpus["hang"] = "nvmlDeviceGetCount_v2"
    put(helper, b"look\n")
    until_sync(lambda: gpus.calls_of("nvmlDeviceGetCount_v2"), what="the call that hangs")
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(30) == 0
