"""Folders of wheels: only what their own lists vouch for is ever sent."""

import hashlib
import json
from pathlib import Path

import pytest

from llorch_ctl.enrolment.wheelhouse import (
    HOST_SIDE,
    Suite,
    ThirdParty,
    read_suite,
    read_third_party,
)
from orchestrator_core.errors import Code, Refusal


def filled(folder: Path, names: list[str], listing: str, **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for name in names:
        content = name.encode()
        (folder / name).write_bytes(content)
        rows.append({"file": name, "sha256": hashlib.sha256(content).hexdigest()})
    (folder / listing).write_text(json.dumps({"wheels": rows, **more}))
    return folder


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    names = [f"{name}-0.1.0-py3-none-any.whl" for name in (*HOST_SIDE, "llorch_ctl")]
    folder = filled(tmp_path / "wheels", names, "suite.json", version="0.1.0")
    (folder / "requirements.txt").write_text("click==8\n")
    return folder


def test_a_host_gets_its_own_side_only(suite: Path) -> None:
    read = read_suite(suite)
    assert isinstance(read, Suite)
    assert {wheel.project for wheel in read.wheels} == set(HOST_SIDE)
    assert (read.version, read.requirements) == ("0.1.0", "click==8\n")


def test_a_changed_wheel_is_not_sent(suite: Path) -> None:
    (suite / "llorch_worker-0.1.0-py3-none-any.whl").write_bytes(b"other")
    refusal = read_suite(suite)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DATA_CORRUPT
    assert "is not the file that was built" in refusal.message


def test_a_folder_without_a_list_says_how_to_make_one(tmp_path: Path) -> None:
    refusal = read_suite(tmp_path)
    assert isinstance(refusal, Refusal)
    assert "./dev wheels --out" in refusal.message


@pytest.mark.parametrize(
    "change",
    [
        {"wheels": []},
        {"wheels": "all"},
        {"version": "0.1; rm -rf /"},
        {"wheels": [{"file": "../../etc/passwd.whl", "sha256": "0" * 64}]},
        {"wheels": [{"file": "-rf.whl", "sha256": "0" * 64}]},
        {"wheels": [{"file": "a-1.whl", "sha256": "short"}]},
        {"wheels": [{"file": "missing-1.whl", "sha256": "0" * 64}]},
    ],
)
def test_a_list_that_lies_is_refused_in_one_line(suite: Path, change: dict[str, object]) -> None:
    listed = json.loads((suite / "suite.json").read_text())
    (suite / "suite.json").write_text(json.dumps({**listed, **change}))
    refusal = read_suite(suite)
    assert isinstance(refusal, Refusal)
    assert len(refusal.message.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100])
def test_a_list_that_is_none_is_refused(suite: Path, text: str) -> None:
    (suite / "suite.json").write_text(text)
    assert isinstance(read_suite(suite), Refusal)


def test_the_wheels_of_others_come_with_uv_beside_them(tmp_path: Path) -> None:
    names = ["click-8-py3-none-any.whl", "uv-0.9-py3-none-any.whl"]
    folder = tmp_path / "third-party"
    filled(
        folder / "linux-x86_64", names, "third-party.json", platform="linux-x86_64", python="3.11"
    )
    for place in (folder, folder / "linux-x86_64"):
        read = read_third_party(place, "linux-x86_64")
        assert isinstance(read, ThirdParty)
        assert [wheel.project for wheel in read.wheels] == ["click"]
        assert read.uv is not None


def test_wheels_for_another_platform_are_refused_by_name(tmp_path: Path) -> None:
    filled(tmp_path, [], "third-party.json", platform="macos-arm64", python="3.11")
    refusal = read_third_party(tmp_path, "linux-x86_64")
    assert isinstance(refusal, Refusal)
    assert "'macos-arm64'" in refusal.message
    assert "./dev wheels --third-party linux-x86_64" in refusal.message
