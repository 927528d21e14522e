"""Which steps an enrolment takes, on which tools it relies, and what it refuses beforehand."""

from dataclasses import replace
from pathlib import Path

import pytest

from llorch_ctl.enrolment.plan import (
    Installer,
    Plan,
    StepKind,
    Wanted,
    make_plan,
    wants_third_party,
)
from llorch_ctl.enrolment.probe import Probe, PythonFound
from llorch_ctl.enrolment.wheelhouse import Suite, ThirdParty, Wheel
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB

PYTHON = PythonFound("/usr/bin/python3", (3, 11, 2), makes_venv=True, has_gomp=True)
BARE = replace(PYTHON, makes_venv=False)
MAC = Probe(
    os="Linux",
    arch="x86_64",
    user="me",
    uid=1000,
    home="/users/me",
    config_home="/users/me/.config",
    data_home="/users/me/.local/share",
    state_home="/users/me/.local/state",
    libc="glibc 2.36",
    disk_free_bytes=50 * GIB,
    avx2=True,
    pythons=(PYTHON,),
    port_taken=False,
    time_s=1000,
)


def wheel(name: str) -> Wheel:
    return Wheel(Path(f"/wheels/{name}-1-py3-none-any.whl"), "0" * 64, 1000)


SUITE = Suite("0.1.0", (wheel("llorch_worker"),), "click==8\n")
OTHERS = ThirdParty("linux-x86_64", "3.11", (wheel("click"),), wheel("uv"))
ADD = Wanted("mac", now_s=1000)


def planned(probe: Probe = MAC, wanted: Wanted = ADD, others: ThirdParty | None = OTHERS) -> Plan:
    plan = make_plan(probe, wanted, SUITE, others)
    assert isinstance(plan, Plan), plan
    return plan


def refused(probe: Probe, wanted: Wanted = ADD, others: ThirdParty | None = OTHERS) -> Refusal:
    refusal = make_plan(probe, wanted, SUITE, others)
    assert isinstance(refusal, Refusal)
    assert "\n" not in refusal.message
    return refusal


def kinds(plan: Plan) -> list[StepKind]:
    return [step.kind for step in plan.steps]


def test_over_ssh_the_host_is_made_ready_before_the_orchestrator_is_told() -> None:
    assert kinds(planned()) == [
        StepKind.FOLDERS,
        StepKind.BOOK,
        StepKind.UPLOAD,
        StepKind.INSTALL,
        StepKind.TEST,
        StepKind.SWITCH,
        StepKind.SETTINGS,
        StepKind.AUTHORIZE,
        StepKind.TOKEN,
        StepKind.START,
        StepKind.ENROL,
        StepKind.HEARTBEAT,
        StepKind.KEY,
    ]


def test_a_host_that_reports_by_itself_gets_no_key_and_joins_last() -> None:
    steps = kinds(planned(wanted=replace(ADD, road="push", bind="10.0.0.2:9200")))
    assert StepKind.AUTHORIZE not in steps
    assert steps[-3:] == [StepKind.JOIN, StepKind.HEARTBEAT, StepKind.KEY]


def test_without_an_orchestrator_nothing_waits_for_one() -> None:
    steps = kinds(planned(wanted=replace(ADD, road="none")))
    assert steps[-1] is StepKind.KEY
    assert StepKind.TOKEN not in steps


UV = replace(MAC, uv="/usr/bin/uv", uv_version=(0, 8))


@pytest.mark.parametrize(
    ("probe", "installer", "python"),
    [
        (UV, Installer.HOST_UV, "/usr/bin/python3"),
        (replace(UV, pythons=(BARE,)), Installer.HOST_UV, "/usr/bin/python3"),
        (replace(UV, pythons=()), Installer.HOST_UV, "3.12"),
        (MAC, Installer.VENV, "/usr/bin/python3"),
        (replace(UV, uv_version=(0, 3)), Installer.VENV, "/usr/bin/python3"),
        (replace(MAC, pythons=(BARE,)), Installer.PUSHED_UV, "/usr/bin/python3"),
    ],
)
def test_the_hosts_own_tools_come_first(probe: Probe, installer: Installer, python: str) -> None:
    plan = planned(probe)
    assert (plan.installer, plan.python) == (installer, python)
    assert (plan.uv is not None) == (installer is Installer.PUSHED_UV)


def test_online_only_our_own_wheels_are_sent() -> None:
    plan = planned()
    assert plan.uploads == SUITE.wheels
    assert plan.from_index


def test_offline_everything_is_sent() -> None:
    plan = planned(wanted=replace(ADD, offline=True))
    assert plan.uploads == (*SUITE.wheels, *OTHERS.wheels)
    assert not plan.from_index


def test_the_wheels_of_others_are_asked_for_only_where_they_count() -> None:
    assert not wants_third_party(MAC, ADD)
    assert not wants_third_party(UV, ADD)
    assert wants_third_party(replace(MAC, pythons=(BARE,)), ADD)
    assert wants_third_party(UV, replace(ADD, offline=True))


@pytest.mark.parametrize(
    ("probe", "service", "kind"),
    [
        (MAC, True, StepKind.START),
        (replace(MAC, systemd=True, user_manager=True), True, StepKind.SERVICE),
        (replace(MAC, systemd=True, user_manager=False), True, StepKind.START),
        (replace(MAC, systemd=True, uid=0), True, StepKind.SERVICE),
        (replace(MAC, launchd=True), True, StepKind.SERVICE),
        (replace(MAC, systemd=True, uid=0), False, StepKind.START),
    ],
)
def test_a_service_is_installed_where_a_manager_can_be_reached(
    probe: Probe, service: bool, kind: StepKind
) -> None:
    plan = planned(probe, replace(ADD, service=service))
    assert kind in kinds(plan)
    told = any("does not start by itself after a reboot" in text for text in plan.warnings)
    assert told == (kind is StepKind.START)


@pytest.mark.parametrize(
    ("probe", "code", "words"),
    [
        (replace(MAC, arch="riscv64"), Code.INVALID_REQUEST, "there are wheels for Linux"),
        (replace(MAC, libc="musl"), Code.INVALID_REQUEST, "musl"),
        (replace(MAC, libc="glibc 2.17"), Code.INVALID_REQUEST, "glibc 2.28 or newer"),
        (replace(MAC, disk_free_bytes=GIB - 1), Code.DISK_LOW, "make room"),
        (replace(MAC, port_taken=True), Code.PORT_IN_USE, "--daemon-port"),
        (replace(MAC, pythons=()), Code.INVALID_REQUEST, "no Python 3.11 or newer (found: none)"),
        (replace(MAC, version="0.3.0"), Code.VERSION_SKEW, "0.3.0"),
        (replace(MAC, version="1.1.0"), Code.VERSION_SKEW, "1.1.0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_touched(
    probe: Probe, code: Code, words: str
) -> None:
    refusal = refused(probe)
    assert refusal.code is code
    assert words in refusal.message


def test_an_old_interpreter_alone_is_named() -> None:
    old = replace(PYTHON, version=(3, 9, 2))
    assert "found: 3.9" in refused(replace(MAC, pythons=(old,))).message


def test_a_port_that_our_own_daemon_holds_is_no_obstacle() -> None:
    assert planned(replace(MAC, port_taken=True, version="0.1.0"))


def test_one_minor_of_difference_is_taken_over() -> None:
    assert planned(replace(MAC, version="0.2.0"))


def test_offline_wheels_for_another_python_say_how_to_make_others() -> None:
    newer = replace(PYTHON, version=(3, 13, 0))
    refusal = refused(replace(MAC, pythons=(newer,)), replace(ADD, offline=True))
    assert "--third-party linux-x86_64 --python VERSION" in refusal.message


def test_offline_without_wheels_is_refused() -> None:
    assert refused(MAC, replace(ADD, offline=True), None).code is Code.NOT_FOUND


def test_neither_uv_nor_venv_nor_a_uv_to_send_is_refused() -> None:
    refusal = refused(replace(MAC, pythons=(BARE,)), others=None)
    assert "python3-venv" in refusal.message


def test_the_interpreter_that_was_named_is_the_only_one() -> None:
    other = replace(PYTHON, path="/opt/python")
    probe = replace(MAC, pythons=(PYTHON, other))
    assert planned(probe, replace(ADD, python="/opt/python")).python == "/opt/python"
    assert "/none" in refused(probe, replace(ADD, python="/none")).message


@pytest.mark.parametrize(("skew_s", "count"), [(0, 0), (5, 0), (6, 1), (-6, 1), (4000, 1)])
def test_a_clock_that_is_off_is_told_with_its_cure(skew_s: int, count: int) -> None:
    warnings = [
        one for one in planned(replace(MAC, time_s=1000 + skew_s)).warnings if "clock" in one
    ]
    assert len(warnings) == count
    assert all("set-ntp" in one for one in warnings)


def test_what_workers_will_miss_is_told() -> None:
    lacking = replace(MAC, avx2=False, pythons=(replace(PYTHON, has_gomp=False),))
    warnings = " ".join(planned(lacking).warnings)
    assert "AVX2" in warnings
    assert "libgomp1" in warnings


def test_a_release_is_named_after_its_content() -> None:
    other = replace(SUITE, requirements="click==9\n")
    changed = replace(SUITE, wheels=(replace(SUITE.wheels[0], sha256="1" * 64),))
    assert len({SUITE.release, other.release, changed.release}) == 3
    assert SUITE.release.startswith("0.1.0-")
