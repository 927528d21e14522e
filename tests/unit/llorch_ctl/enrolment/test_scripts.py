"""The scripts of the steps, run by this machine's own sh in folders with awkward names."""

import fcntl
import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.plan import Installer
from llorch_ctl.enrolment.shell_text import quoted, words
from support.waiting import until_sync


def run(text: str, *, status: int = 0) -> str:
    done = subprocess.run(
        ["sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "it's a $HOME `here`"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=5))
def test_quoted_words_arrive_as_they_were(texts: list[str]) -> None:
    script = f"for word in {words(*texts)}; do printf '%s\\0' \"$word\"; done"
    done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout == b"".join(text.encode() + b"\0" for text in texts)


def test_plain_words_stay_readable() -> None:
    assert quoted("/users/me/.local") == "/users/me/.local"
    assert quoted("") == "''"


def test_folders_are_made_and_sent_files_are_known_by_their_digests(root: Path) -> None:
    run(scripts.make_folders(str(root)))
    run(scripts.make_folders(str(root)))
    (root / "wheels" / "a-1.whl").write_bytes(b"wheel")
    (root / "tools" / "uv-abc").write_bytes(b"uv")
    (root / "wheels" / "a-2.whl.part").write_bytes(b"half")
    told = sorted(run(scripts.list_digests(str(root))).splitlines())
    wanted = {"wheels/a-1.whl": b"wheel", "tools/uv-abc": b"uv"}
    assert told == sorted(
        f"{hashlib.sha256(it).hexdigest()}  {name}" for name, it in wanted.items()
    )


def _release(root: Path, name: str) -> Path:
    folder = root / "releases" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/env")
    program = folder / "bin" / "python"
    program.unlink()
    program.write_text('#!/bin/sh\nexec python3 "$@"\n')
    program.chmod(0o755)
    return folder


def _install(root: Path, python: str) -> str:
    return scripts.install(
        str(root),
        "0.1.0-a",
        installer=Installer.VENV,
        program="",
        python=python,
        suite=["a.whl"],
        third_party=[],
        requirements="",
        from_index=True,
    )


def test_current_changes_in_one_step_and_tells_what_it_was(root: Path) -> None:
    for name in ("0.1.0-a", "0.2.0-b"):
        _release(root, name)
    assert run(scripts.switch(str(root), "0.1.0-a")) == ""
    assert run(scripts.switch(str(root), "0.2.0-b")) == "releases/0.1.0-a\n"
    assert (root / "current").readlink() == Path("releases/0.2.0-b")
    assert sorted(path.name for path in root.iterdir()) == ["current", "releases"]


def test_a_release_that_is_complete_is_not_installed_again(root: Path) -> None:
    folder = _release(root, "0.1.0-a")
    (folder / scripts.COMPLETE).touch()
    text = _install(root, "/does/not/exist")
    run(text)
    (folder / scripts.COMPLETE).unlink()
    run(text, status=127)
    assert not (folder / "bin").exists()


def test_only_what_nothing_needs_is_tidied_away(root: Path) -> None:
    for name in ("0.1.0-a", "0.2.0-b", "0.3.0-c"):
        _release(root, name)
    (root / "wheels").mkdir()
    for name in ("old.whl", "new.whl"):
        (root / "wheels" / name).touch()
    run(scripts.tidy(str(root), ["0.2.0-b", "0.3.0-c"], ["new.whl"]))
    assert sorted(path.name for path in (root / "releases").iterdir()) == ["0.2.0-b", "0.3.0-c"]
    assert [path.name for path in (root / "wheels").iterdir()] == ["new.whl"]


def test_a_release_whose_program_still_runs_is_kept(root: Path) -> None:
    folder = _release(root, "0.1.0-a")
    program = folder / "bin" / "worker"
    program.write_text("#!/bin/sh\necho up\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
        run(scripts.tidy(str(root), ["0.2.0-b"], []))
        assert folder.exists()
        worker.communicate("go\n")
    run(scripts.tidy(str(root), ["0.2.0-b"], []))
    assert not folder.exists()


def test_a_file_is_written_whole_and_for_its_owner_only(root: Path) -> None:
    text = "a 'quoted' $line\nand `another`\n\\n é\n"
    file = root / "state" / "join.token"
    for _ in range(2):
        run(scripts.put_file(str(file), text))
    assert file.read_text("utf-8") == text
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["join.token"]
    assert run(scripts.take_file(str(file))) == text
    assert run(scripts.take_file(str(root / "none"))) == ""


def test_removing_leaves_models_and_strangers_where_they_are(root: Path) -> None:
    _release(root, "0.1.0-a")
    for name in ("wheels/a.whl", "models/m.gguf", "orchestrator/orchestrator.db"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 5000)
    settings_file = root.parent / "config" / "pool.toml"
    settings_file.parent.mkdir()
    settings_file.touch()
    suite, models = run(scripts.sizes(str(root), str(root / "models"))).split()
    assert int(suite) > 0
    assert int(models) > 0
    told = run(scripts.remove_suite(str(root), [str(settings_file)], [], None))
    assert told.splitlines() == [f"{root}/models", f"{root}/orchestrator"]
    assert sorted(path.name for path in root.iterdir()) == ["models", "orchestrator"]
    assert not settings_file.exists()
    for _ in range(2):
        run(scripts.remove_suite(str(root), [], [], str(root / "models")))
    assert [path.name for path in root.iterdir()] == ["orchestrator"]
    assert run(scripts.sizes(str(root / "gone"), str(root / "gone"))) == "0\n0\n"


def test_folders_that_were_made_for_it_go_and_others_stay(tmp_path: Path) -> None:
    root = tmp_path / ".local/share/llorch"
    (root / "wheels").mkdir(parents=True)
    (tmp_path / ".config/llorch").mkdir(parents=True)
    (tmp_path / ".local/state/other").mkdir(parents=True)
    above = [str(tmp_path / name) for name in (".local", ".local/share", ".config")]
    paths = [str(tmp_path / ".config/llorch/pool.toml")]
    assert run(scripts.remove_suite(str(root), paths, above, None)) == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".local", "other", "state"]


def test_what_still_runs_from_a_release_is_ended(root: Path) -> None:
    folder = _release(root, "0.1.0-a")
    program = folder / "bin" / "worker"
    shutil.copy("/bin/sleep", program)
    bystander = ["sleep", "1000"]
    with subprocess.Popen([program, "1000"]) as worker, subprocess.Popen(bystander) as other:
        run(scripts.end_strays(str(root)))
        assert worker.wait(timeout=10) == -signal.SIGTERM
        assert other.poll() is None
        other.kill()
    run(scripts.end_strays(str(root)))


def test_an_installer_that_was_left_behind_is_waited_for(root: Path) -> None:
    (root / "tools").mkdir(parents=True)
    lock = (root / "tools/installing.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    text = _install(root, "/does/not/exist")
    with subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, text=True) as installer:
        assert installer.stdin is not None
        installer.stdin.write(text)
        installer.stdin.close()
        until_sync(
            lambda: any(it.name() == "flock" for it in psutil.Process(installer.pid).children())
        )
        assert not (root / "releases").exists()
        lock.close()
        assert installer.wait(timeout=10) == 127


def test_a_file_too_large_to_be_read_whole_is_not_read(root: Path) -> None:
    root.mkdir()
    (root / "pool.toml").write_text("#" * 65_537)
    run(scripts.take_file(str(root / "pool.toml")), status=1)


def test_a_link_to_a_file_stays_a_link(root: Path) -> None:
    (root / "dotfiles").mkdir(parents=True)
    file = root / "dotfiles" / "pool.toml"
    file.write_text("old")
    link = root / "pool.toml"
    link.symlink_to(file)
    run(scripts.put_file(str(link), "new"))
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_failing_line_ends_a_script_with_its_reason(root: Path) -> None:
    root.parent.chmod(0o755)
    root.write_text("a file where a folder should be")
    done = subprocess.run(
        ["sh", "-s"], input=scripts.make_folders(str(root)), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot create directory" in done.stderr
