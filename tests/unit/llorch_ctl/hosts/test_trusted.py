"""What the key of a host means, and how accepted keys are written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llorch_ctl.hosts.trusted import Shown, Standing, accept_keys, standing_of, with_entries
from orchestrator_core.errors import LlorchError

NEW = Shown("ed25519", "SHA256:new", "mac ssh-ed25519 AAAAnew")


@pytest.mark.parametrize(
    ("known", "standing"),
    [
        ([], Standing.UNKNOWN),
        (["SHA256:new"], Standing.KNOWN),
        (["SHA256:old", "SHA256:new"], Standing.KNOWN),
        (["SHA256:old"], Standing.CHANGED),
    ],
)
def test_a_key_is_unknown_known_or_changed(known: list[str], standing: Standing) -> None:
    assert standing_of([NEW], known) is standing


def test_the_lines_of_one_host_are_replaced_and_others_stay() -> None:
    text = "[mac]:2222 ssh-ed25519 A\nmac ssh-rsa old\nother x y"
    assert with_entries(text, "mac", [NEW.entry], replace=True) == (
        "[mac]:2222 ssh-ed25519 A\nother x y\nmac ssh-ed25519 AAAAnew\n"
    )


def test_a_key_of_another_kind_stays_beside_the_new_one() -> None:
    text = "mac ssh-rsa old\n"
    assert with_entries(text, "mac", [NEW.entry]) == f"{text}{NEW.entry}\n"


def test_of_two_who_accept_different_keys_at_once_the_second_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    accept_keys(file, [NEW])
    other = Shown("ed25519", "SHA256:other", "mac ssh-ed25519 AAAAother")
    with pytest.raises(LlorchError, match="another command has accepted another key of mac"):
        accept_keys(file, [other])
    assert file.read_text() == f"{NEW.entry}\n"
    accept_keys(file, [other], replace=True)
    assert file.read_text() == f"{other.entry}\n"


def test_two_who_accept_keys_at_once_both_succeed(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    shown = [Shown("ed25519", "SHA256:x", f"host{n} ssh-ed25519 AAAA") for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(accept_keys, file, [key]) for key in shown]:
            done.result()
    assert sorted(file.read_text().splitlines()) == sorted(key.entry for key in shown)


def test_lines_that_are_no_text_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(b"# caf\xe9\n")
    accept_keys(file, [NEW])
    assert file.read_bytes() == b"# caf\xe9\n" + NEW.entry.encode() + b"\n"


def test_the_file_is_for_this_user_only(tmp_path: Path) -> None:
    file = tmp_path / "state" / "known_hosts"
    accept_keys(file, [NEW])
    accept_keys(file, [NEW])
    assert file.read_text() == f"{NEW.entry}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(LlorchError, match="cannot write"):
        accept_keys(tmp_path / "state" / "known_hosts", [NEW])
