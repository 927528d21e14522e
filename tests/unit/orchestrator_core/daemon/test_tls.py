"""The files of HTTPS: what is wrong with them is one line before anything listens."""

from pathlib import Path

import pytest

from orchestrator_core.daemon.settings import DaemonSettings, refuse_open_network
from orchestrator_core.daemon.tls import ServerTls, open_tls
from orchestrator_core.errors import Code, Exit, Refusal
from support.certificates import (
    EXPIRED,
    KEY,
    LOCAL,
    LOCKED_KEY,
    OTHER_KEY,
    SELF_SIGNED,
    SIGNED,
    tls_files,
)


def refused(cert: Path | None, key: Path | None) -> str:
    found = open_tls(cert, key)
    assert isinstance(found, Refusal)
    assert (found.code, found.outcome.exit_code) == (Code.CONFIG_INVALID, Exit.CONFIG)
    assert "\n" not in found.message
    return found.message


def test_without_files_the_daemon_speaks_plain_http() -> None:
    assert open_tls(None, None) is None


@pytest.mark.parametrize("cert", [SELF_SIGNED, SIGNED, LOCAL])
def test_a_certificate_and_its_key_are_taken_without_a_doubt(tmp_path: Path, cert: str) -> None:
    cert_file, key_file = tls_files(tmp_path, cert)
    found = open_tls(cert_file, key_file)
    assert isinstance(found, ServerTls)
    assert (found.doubt, found.cert_file) == (None, cert_file)


def test_one_file_without_the_other_is_refused(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path)
    for pair in ((cert_file, None), (None, key_file)):
        assert "set both of them or neither" in refused(*pair)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path)
    assert "tls_key: cannot read" in refused(cert_file, tmp_path / "none.pem")
    assert "tls_cert: cannot read" in refused(tmp_path / "none.pem", key_file)
    assert "Is a directory" in refused(tmp_path, key_file)


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        (SELF_SIGNED, OTHER_KEY, "does not belong to the certificate"),
        (SELF_SIGNED, LOCKED_KEY, "has a passphrase"),
        (SELF_SIGNED, "nothing", "holds no private key"),
        (SELF_SIGNED, "", "holds no private key"),
        ("nothing", KEY, "holds no certificate"),
        ("", KEY, "holds no certificate"),
        (KEY, KEY, "holds no certificate"),
    ],
)
def test_a_pair_that_does_not_work_is_refused_with_its_reason(
    tmp_path: Path, cert: str, key: str, words: str
) -> None:
    assert words in refused(*tls_files(tmp_path, cert, key))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o777])
def test_a_key_that_everybody_may_open_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    cert_file, key_file = tls_files(tmp_path)
    key_file.chmod(mode)
    assert f"`chmod 600 {key_file}`" in refused(cert_file, key_file)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_key_of_its_owner_and_group_is_fine(tmp_path: Path, mode: int) -> None:
    cert_file, key_file = tls_files(tmp_path)
    key_file.chmod(mode)
    assert isinstance(open_tls(cert_file, key_file), ServerTls)


def test_an_expired_certificate_serves_with_a_doubt(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path, EXPIRED)
    found = open_tls(cert_file, key_file)
    assert isinstance(found, ServerTls)
    assert found.doubt == f"the certificate in {cert_file} has expired"


@pytest.mark.parametrize(
    ("host", "encrypted", "insecure", "passes"),
    [
        ("0.0.0.0", False, False, False),
        ("0.0.0.0", True, False, True),
        ("0.0.0.0", False, True, True),
        ("127.0.0.1", False, False, True),
        ("box", True, False, True),
    ],
)  # fmt: skip
def test_other_hosts_are_listened_to_over_https_or_on_demand_only(
    host: str, encrypted: bool, insecure: bool, passes: bool
) -> None:
    settings = DaemonSettings(bind="x:1", insecure_lan=insecure, allowed_hosts=())
    assert (refuse_open_network(settings, host, encrypted=encrypted) is None) is passes
