"""The written units, read back by the programs that have to understand them."""

import os
import plistlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from orchestrator_core.daemon import units
from orchestrator_core.daemon.units import (
    ServiceSpec,
    launchd_plist,
    refuse_unprintable,
    service_environment,
    systemd_system_unit,
    systemd_user_unit,
)

Write = Callable[[ServiceSpec], str]

UNITS: list[tuple[str, Write]] = [("system", systemd_system_unit), ("user", systemd_user_unit)]

ODD_FOLDER = "100% odd $HOME ü ; # {x}, 5%% $$ @-"
ODD_VALUE = """it's 100% "odd" $HOME \\n ü ; # {x}"""


def program(folder: Path, name: str = "pool-managerd") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def spec(folder: Path, **changes: object) -> ServiceSpec:
    facts: dict[str, object] = {
        "program": program(folder),
        "environment": {"LLORCH_HOME": str(folder), "LLORCH_POOL_BIND": "127.0.0.1:9300"},
        "user": "root",
        "groups": ("video",),
    }
    return ServiceSpec(**{**facts, **changes})  # type: ignore[arg-type]


def verified(folder: Path, kind: str, text: str) -> str:
    """What systemd-analyze has to say about a unit; nothing at all is the right answer."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze; on Debian or Ubuntu: apt install systemd")
    path = folder / units.UNIT
    path.write_text(text, "utf-8")
    done = subprocess.run(
        [analyze, f"--{kind}", "--man=no", "verify", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "LC_ALL": "C.UTF-8"},
    )
    # Units of this machine that know no better may be named as well; ours may not.
    about_us = [line for line in done.stderr.splitlines() if "pool-managerd" in line]
    return "\n".join(about_us) or (done.stderr if done.returncode else "")


@pytest.mark.parametrize(("kind", "write"), UNITS)
def test_systemd_understands_every_line(kind: str, write: Write, tmp_path: Path) -> None:
    assert verified(tmp_path, kind, write(spec(tmp_path / "bin"))) == ""


@pytest.mark.parametrize(("kind", "write"), UNITS)
def test_systemd_finds_a_program_in_a_folder_with_an_odd_name(
    kind: str, write: Write, tmp_path: Path
) -> None:
    folder = tmp_path / ODD_FOLDER
    odd = spec(folder, environment={"LLORCH_HOME": str(folder), "LLORCH_POOL_POOL_ID": ODD_VALUE})
    assert refuse_unprintable(odd, systemd=True) is None
    assert verified(tmp_path, kind, write(odd)) == ""


def test_the_check_itself_notices_what_systemd_would_ignore(tmp_path: Path) -> None:
    text = systemd_system_unit(spec(tmp_path / "bin"))
    assert "Unknown key" in verified(tmp_path, "system", text.replace("KillMode", "KillMod"))
    shutil.rmtree(tmp_path / "bin")
    assert "not executable" in verified(tmp_path, "system", text)


@pytest.mark.parametrize("write", [write for _, write in UNITS])
@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        "TimeoutStopSec=45",
        "WatchdogSec=60",
        "LimitNOFILE=65536",
    ],
)
def test_both_units_keep_workers_alive_and_wait_for_readiness(write: Write, line: str) -> None:
    lines = write(ServiceSpec(program=PurePath("/opt/p"), environment={})).splitlines()
    assert line in lines
    assert "ExecStart=/opt/p" in lines


def test_system_unit_names_its_user_and_only_groups_that_exist() -> None:
    there = ServiceSpec(
        program=PurePath("/opt/p"), environment={}, user="ann", groups=("video", "render")
    )
    assert "User=ann\nSupplementaryGroups=video render\n" in systemd_system_unit(there)
    none = ServiceSpec(program=PurePath("/opt/p"), environment={}, user="ann")
    assert "SupplementaryGroups" not in systemd_system_unit(none)
    assert "WantedBy=multi-user.target" in systemd_system_unit(none)


def test_user_unit_asks_for_nothing_that_needs_root() -> None:
    text = systemd_user_unit(spec_of({}))
    for word in ("User=", "Groups=", "network-online", "OOMScoreAdjust", "ProtectSystem"):
        assert word not in text
    assert "WantedBy=default.target" in text


def test_no_unit_forbids_setuid_programs() -> None:
    """The NVIDIA driver makes its device files by one; CUDA would fail without it."""
    forbidding = ("NoNewPrivileges", "Private", "Restrict", "SystemCall", "MemoryDeny", "LockPers")
    text = systemd_system_unit(spec_of({}))
    assert [word for word in forbidding if f"\n{word}" in text] == []


@pytest.mark.parametrize(("home", "expected"), [("/srv/llorch", True), ("/usr/local/x", False)])
def test_system_folders_are_read_only_unless_the_installation_lies_there(
    home: str, expected: bool
) -> None:
    assert ("ProtectSystem=full" in systemd_system_unit(spec_of({"LLORCH_HOME": home}))) is expected


def spec_of(environment: dict[str, str]) -> ServiceSpec:
    return ServiceSpec(program=PurePath("/opt/p"), environment=environment)


def test_percent_and_quotes_are_only_themselves() -> None:
    text = systemd_user_unit(spec_of({"LLORCH_POOL_POOL_ID": 'a "b" 5% \\ $c'}))
    assert 'Environment="LLORCH_POOL_POOL_ID=a \\"b\\" 5%% \\\\ $c"\n' in text


def test_plist_leaves_workers_alive_and_starts_again_after_a_failure() -> None:
    text = launchd_plist(
        ServiceSpec(
            program=PurePath("/opt/a b & c/pool-managerd"),
            environment={"LLORCH_HOME": "/x/<y>"},
            user="ann",
            log_path=PurePath("/x/log/pool-managerd.log"),
        )
    )
    assert units.MARK in text
    content = plistlib.loads(text.encode("utf-8"))
    assert content["Label"] == units.LABEL
    assert content["ProgramArguments"] == ["/opt/a b & c/pool-managerd"]
    assert content["EnvironmentVariables"] == {"LLORCH_HOME": "/x/<y>"}
    assert content["AbandonProcessGroup"] is True
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["RunAtLoad"] is True
    assert (content["ExitTimeOut"], content["ThrottleInterval"]) == (45, 10)
    assert content["Umask"] == 0o077
    assert content["UserName"] == "ann"
    assert content["StandardErrorPath"] == "/x/log/pool-managerd.log"
    assert "UserName" not in plistlib.loads(launchd_plist(spec_of({})).encode("utf-8"))


def test_settings_pass_and_secrets_never_do() -> None:
    env = {
        "LLORCH_HOME": "/srv/llorch",
        "LLORCH_POOL_BIND": "127.0.0.1:9300",
        "LLORCH_POOL_ORCHESTRATOR_KEY_FILE": "/srv/key",
        "LLORCH_POOL_POOL_ID": "",
        "LLORCH_POOL_URL": "http://127.0.0.1:9200",
        "LLORCH_POOL_JOIN_TOKEN": "secret",
        "LLORCH_POOL_API_KEY": "secret",
        "LLORCH_API_KEY": "secret",
        "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:8080",
        "HF_TOKEN": "secret",
        "XDG_STATE_HOME": "/s",
        "PATH": "/bin",
    }
    assert service_environment(env, same_user=True) == {
        "LLORCH_HOME": "/srv/llorch",
        "LLORCH_POOL_BIND": "127.0.0.1:9300",
        "LLORCH_POOL_ORCHESTRATOR_KEY_FILE": "/srv/key",
    }


def test_folders_of_the_caller_pass_only_to_a_service_of_the_caller() -> None:
    env = {"XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "relative"}
    assert service_environment(env, same_user=True) == {"XDG_STATE_HOME": "/s"}
    assert service_environment(env, same_user=False) == {}


@pytest.mark.parametrize("text", ["a\nb", "a\x00", "a\x7f", "a\udcff"])
def test_what_no_unit_can_spell_is_refused_by_name(text: str) -> None:
    refusal = refuse_unprintable(spec_of({"LLORCH_POOL_POOL_ID": text}), systemd=False)
    assert refusal is not None
    assert refusal.message.startswith("LLORCH_POOL_POOL_ID holds a character")
    program = ServiceSpec(program=PurePath(f"/x/{text}"), environment={})
    assert refuse_unprintable(program, systemd=True)
    assert refuse_unprintable(spec_of({"LLORCH_POOL_POOL_ID": ODD_VALUE}), systemd=True) is None


@pytest.mark.parametrize("letter", ["'", '"', "\\"])
def test_program_that_only_systemd_cannot_start_is_refused_there(
    letter: str, tmp_path: Path
) -> None:
    odd = spec(tmp_path / f"a{letter}b", environment={})
    assert "special characters" in verified(tmp_path, "system", systemd_system_unit(odd))
    refusal = refuse_unprintable(odd, systemd=True)
    assert refusal is not None
    assert "quotes or backslashes" in refusal.message
    assert refuse_unprintable(odd, systemd=False) is None
