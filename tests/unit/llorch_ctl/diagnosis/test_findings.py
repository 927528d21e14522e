"""What the doctor makes of the facts: severity, words and a fix for each fault."""

import json
from pathlib import Path

import pytest

from llorch_ctl.diagnosis.facts import (
    ControlFacts,
    DaemonFacts,
    FolderFacts,
    HostFacts,
    LocalFacts,
    OrchestratorFacts,
    PoolFacts,
    SettingsFault,
    SshFacts,
)
from llorch_ctl.diagnosis.findings import judge
from llorch_ctl.diagnosis.told_findings import read_findings
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.findings import Finding, Severity, has_errors
from orchestrator_core.platforms.port import PortHolder
from orchestrator_core.units import GIB, MIB

STATE = FolderFacts(
    name="state", path=Path("/s"), is_writable=True, free_bytes=50 * GIB, mode=0o700
)
LOCAL = LocalFacts(
    python=(3, 11, 7), version="0.1.0", programs={"orchestratord": Path("/b/o")}, folders=(STATE,)
)
SSH = SshFacts(keys=(Path("/h/.ssh/id_ed25519"),), known_hosts=(Path("/h/.ssh/known_hosts"),))
DAEMON = DaemonFacts(
    name="orchestratord",
    start_command="llorch orchestrator start",
    bind="127.0.0.1:8080",
    version="0.1.0",
)
RUNNING = DaemonFacts(
    name="orchestratord",
    start_command="llorch orchestrator start",
    bind="127.0.0.1:8080",
    version="0.1.0",
    run_pid=7,
    run_url="http://127.0.0.1:8080",
    run_version="0.1.0",
    lock_pid=7,
    holder=PortHolder(8080, 7, "orchestratord"),
)
POOL = PoolFacts(name="mac", status="online", version="0.1.0", last_seen_s=1.0)


def orchestrator(**changes: object) -> OrchestratorFacts:
    facts = {
        "url": "http://x:1", "origin": "env LLORCH_ORCHESTRATOR_URL", "version": "0.1.0",
        "is_ready": True, "ahead_s": 0.4, "pools": (POOL,),
    }  # fmt: skip
    return OrchestratorFacts(**(facts | changes))  # type: ignore[arg-type]


def only(facts: ControlFacts, subject: str) -> Finding:
    (found,) = [finding for finding in judge(facts) if finding.subject == subject]
    return found


def changed(facts: object, **changes: object) -> object:
    import dataclasses

    return dataclasses.replace(facts, **changes)  # type: ignore[type-var]


def test_a_healthy_machine_has_nothing_to_do() -> None:
    facts = ControlFacts(
        local=LOCAL, ssh=SSH, faults=(), daemons=(RUNNING,), orchestrator=orchestrator(),
        hosts=(HostFacts(name="mac", way="ssh", version="0.1.0", their_version="0.1.0"),),
    )  # fmt: skip
    assert {finding.severity for finding in judge(facts)} == {Severity.OK}
    assert all(finding.fix is None for finding in judge(facts))


def test_every_fault_comes_with_a_fix_and_the_worst_first() -> None:
    holder = PortHolder(8080, 99, "python")
    refusal = Refusal(Code.UNREACHABLE, "nobody answers")
    facts = ControlFacts(
        local=changed(LOCAL, programs={"llorch-pool": None}, open_secrets=(Path("/s/admin.key"),)),
        ssh=SshFacts(open_keys=(Path("/k"),), agent=Path("/a"), unreadable=(Path("/c"),)),
        faults=(SettingsFault("pool.toml", "unknown key", "correct it"),),
        daemons=(changed(DAEMON, holder=holder),),
        orchestrator=orchestrator(refusal=refusal),
        hosts=(HostFacts(name="mac", way="ssh", version="0.1.0", refusal=refusal),),
    )  # type: ignore[arg-type]  # fmt: skip
    found = judge(facts)
    order = [list(Severity).index(finding.severity) for finding in found]
    assert order == sorted(order, reverse=True)
    assert has_errors(found)
    assert all(finding.fix for finding in found if finding.severity is not Severity.OK)


@pytest.mark.parametrize(
    ("free_bytes", "severity"),
    [(MIB, Severity.ERROR), (500 * MIB, Severity.WARNING), (2 * GIB, Severity.OK)],
)
def test_a_disk_fills_up_in_three_steps(free_bytes: int, severity: Severity) -> None:
    folder = changed(STATE, free_bytes=free_bytes)
    facts = ControlFacts(local=changed(LOCAL, folders=(folder,)))  # type: ignore[arg-type]
    assert only(facts, "state folder").severity is severity


def test_a_file_in_the_place_of_a_folder_is_named() -> None:
    folder = changed(STATE, obstacle=Path("/s"))
    facts = ControlFacts(local=changed(LOCAL, folders=(folder,)))  # type: ignore[arg-type]
    assert only(facts, "state folder").fix == "mv /s /s.old"


def test_a_strange_holder_of_the_port_is_named_with_its_pid() -> None:
    daemon = changed(DAEMON, holder=PortHolder(8080, 99, "python"))
    found = only(ControlFacts(daemons=(daemon,)), "port")  # type: ignore[arg-type]
    assert found.severity is Severity.ERROR
    assert "in use by process 99 (python)" in found.text


def test_our_own_daemon_holds_its_port_rightly() -> None:
    assert [it.subject for it in judge(ControlFacts(daemons=(RUNNING,)))] == ["orchestratord"]


def test_a_port_that_a_running_daemon_does_not_need_is_no_error() -> None:
    daemon = changed(RUNNING, holder=PortHolder(8080, 99, "python"))
    found = only(ControlFacts(daemons=(daemon,)), "port")  # type: ignore[arg-type]
    assert found.severity is Severity.NOTE


def test_a_daemon_of_another_version_is_to_be_started_again() -> None:
    daemon = changed(RUNNING, run_version="0.0.9")
    found = only(ControlFacts(daemons=(daemon,)), "version")  # type: ignore[arg-type]
    assert (found.severity, "0.0.9" in found.text) == (Severity.WARNING, True)


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(90.0, "1 min 30 s ahead of"), (-7200.0, "2 h 0 min behind"), (4.0, "")]
)
def test_clocks_that_differ_are_told(ahead_s: float, words: str) -> None:
    found = judge(ControlFacts(orchestrator=orchestrator(ahead_s=ahead_s)))
    clocks = [finding.text for finding in found if finding.subject == "clock"]
    assert bool(clocks) == bool(words)
    assert words in "".join(clocks)


@pytest.mark.parametrize(
    ("code", "origin", "severity"),
    [
        (Code.UNREACHABLE, "default", Severity.NOTE),
        (Code.UNREACHABLE, "env LLORCH_ORCHESTRATOR_URL", Severity.ERROR),
        (Code.BAD_KEY, "default", Severity.ERROR),
    ],
)
def test_nobody_at_the_default_address_is_no_error(
    code: Code, origin: str, severity: Severity
) -> None:
    facts = orchestrator(refusal=Refusal(code, "no"), origin=origin)
    assert only(ControlFacts(orchestrator=facts), "orchestrator").severity is severity


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        ({"status": "draining"}, Severity.NOTE, "draining"),
        ({"status": "suspect"}, Severity.WARNING, "suspect"),
        ({"status": "lost", "last_seen_s": None}, Severity.WARNING, "never heard of"),
        (
            {"link": "needs_attention", "reason": "its key changed"},
            Severity.ERROR,
            "its key changed",
        ),
    ],
)
def test_a_pool_is_judged_by_what_the_orchestrator_says(
    changes: dict[str, object], severity: Severity, words: str
) -> None:
    facts = orchestrator(pools=(changed(POOL, **changes),))
    found = only(ControlFacts(orchestrator=facts), "pool mac")
    assert (found.severity, words in found.text) == (severity, True)
    assert found.fix


def test_a_pool_two_minors_away_is_to_be_upgraded() -> None:
    facts = orchestrator(version="0.3.0", pools=(POOL,))
    worst = judge(ControlFacts(orchestrator=facts))[0]
    assert (worst.severity, worst.fix) == (Severity.ERROR, "llorch host upgrade mac")


@pytest.mark.parametrize(
    ("code", "severity", "fix"),
    [
        (Code.HOST_KEY_UNKNOWN, Severity.ERROR, "llorch host trust mac"),
        (Code.HOST_KEY_CHANGED, Severity.ERROR, "llorch host trust mac"),
        (Code.UNREACHABLE, Severity.ERROR, "llorch host check mac"),
        (Code.NOT_FOUND, Severity.NOTE, "llorch host add mac"),
    ],
)
def test_a_host_that_is_not_reached_says_what_to_type(
    code: Code, severity: Severity, fix: str
) -> None:
    host = HostFacts(name="mac", way="ssh", version="0.1.0", refusal=Refusal(code, "no"))
    found = only(ControlFacts(hosts=(host,)), "host mac")
    assert (found.severity, found.fix) == (severity, fix)


def test_a_part_that_could_not_be_read_is_told() -> None:
    found = only(ControlFacts(unread={"ssh": "the cellar is flooded"}), "ssh")
    assert (found.severity, "flooded" in found.text) == (Severity.WARNING, True)


def test_what_a_host_finds_of_itself_is_told_with_its_name() -> None:
    driver = Finding(Severity.ERROR, "driver", "it is too old for CUDA 12", "update the driver")
    host = HostFacts(
        name="mac", way="ssh", version="0.1.0", their_version="0.1.0", findings=(driver,)
    )
    worst, reached = judge(ControlFacts(hosts=(host,)))
    assert worst == Finding(
        Severity.ERROR, "host mac", "driver: it is too old for CUDA 12", "on mac: update the driver"
    )
    assert reached.severity is Severity.OK


def test_what_a_host_tells_of_itself_is_believed_in_no_shape() -> None:
    good = {"severity": "warning", "subject": "driver", "text": "old\x1b[2J\nnews", "fix": None}
    odd = [good, 7, {}, {**good, "severity": "fatal"}, {**good, "text": ["x"]}]
    assert read_findings(json.dumps(odd).encode()) == (
        Finding(Severity.WARNING, "driver", "old [2J news"),
    )
    for data in (b"", b"[[", b'{"findings": 1}', b"\xff", json.dumps([good] * 99).encode()):
        assert len(read_findings(data)) in (0, 50)
