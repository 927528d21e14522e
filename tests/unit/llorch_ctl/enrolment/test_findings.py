"""What is wrong with an enrolled host, and that every problem comes with a way out."""

from dataclasses import replace

import pytest

from llorch_ctl.enrolment.findings import Finding, Grade, Look, PoolWord, judge, unreachable
from llorch_ctl.enrolment.probe import Probe, PythonFound
from orchestrator_core.units import GIB

PYTHON = PythonFound("/usr/bin/python3", (3, 11, 2), makes_venv=True, has_gomp=True)
SOUND = Look(
    host="mac",
    ours="0.1.0",
    probe=Probe(
        os="Linux",
        arch="x86_64",
        user="me",
        uid=1000,
        home="/users/me",
        config_home="/users/me/.config",
        data_home="/users/me/.local/share",
        state_home="/users/me/.local/state",
        disk_free_bytes=50 * GIB,
        avx2=True,
        pythons=(PYTHON,),
        systemd=True,
        user_manager=True,
        lingers=True,
        time_s=1000,
    ),
    now_s=1000.4,
    version="0.1.0",
    daemon_url="http://127.0.0.1:9200",
    units={"user": "enabled", "system": ""},
    devices=["A CPU"],
    pool=PoolWord("online", "up"),
)


def found(look: Look) -> dict[str, Finding]:
    return {one.what: one for one in judge(look)}


def test_a_sound_host_has_nothing_to_complain_about() -> None:
    assert {one.grade for one in judge(SOUND)} == {Grade.OK}


@pytest.mark.parametrize(
    ("look", "what", "grade", "fix"),
    [
        (replace(SOUND, version=None), "version", Grade.PROBLEM, "llorch host add mac"),
        (replace(SOUND, version="0.2.0"), "version", Grade.WARNING, "llorch host upgrade mac"),
        (replace(SOUND, version="0.4.0"), "version", Grade.PROBLEM, "llorch host upgrade mac"),
        (replace(SOUND, daemon_url=None), "daemon", Grade.PROBLEM, "daemon start --host mac"),
        (replace(SOUND, units={"user": "disabled"}), "service", Grade.WARNING, "install-service"),
        (replace(SOUND, units={}), "service", Grade.WARNING, "install-service"),
        (replace(SOUND, pool=None), "pool", Grade.WARNING, "llorch orchestrator status"),
        (replace(SOUND, pool=PoolWord(None)), "pool", Grade.PROBLEM, "llorch host add mac"),
        (replace(SOUND, pool=PoolWord("lost")), "pool", Grade.PROBLEM, "llorch host add mac"),
        (replace(SOUND, devices=[]), "devices", Grade.WARNING, "dev doctor --host mac"),
        (replace(SOUND, now_s=1010), "clock", Grade.WARNING, "set-ntp"),
        (replace(SOUND, now_s=2000), "clock", Grade.PROBLEM, "set-ntp"),
    ],
)
def test_each_fault_is_graded_and_has_a_fix(look: Look, what: str, grade: Grade, fix: str) -> None:
    one = found(look)[what]
    assert one.grade is grade
    assert fix in one.fix


@pytest.mark.parametrize(("free", "grade"), [(GIB - 1, Grade.PROBLEM), (2 * GIB, Grade.WARNING)])
def test_a_disk_that_fills_up_is_noticed(free: int, grade: Grade) -> None:
    look = replace(SOUND, probe=replace(SOUND.probe, disk_free_bytes=free))
    assert found(look)["disk"].grade is grade


def test_a_service_of_a_user_who_does_not_linger_is_a_warning() -> None:
    look = replace(SOUND, probe=replace(SOUND.probe, lingers=False))
    assert "enable-linger me" in found(look)["linger"].fix
    as_root = replace(look, units={"user": "", "system": "enabled"})
    assert "linger" not in found(as_root)


def test_a_missing_library_of_the_engine_is_a_problem() -> None:
    lacking = (replace(PYTHON, has_gomp=False),)
    look = replace(SOUND, probe=replace(SOUND.probe, pythons=lacking))
    assert "libgomp1" in found(look)["engine"].fix


def test_a_host_that_cannot_be_entered_is_one_problem_with_the_reason() -> None:
    (one,) = unreachable("mac", "nobody answers")
    assert (one.grade, one.text) == (Grade.PROBLEM, "nobody answers")
