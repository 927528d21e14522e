"""When the pool's port speaks HTTPS, and what its own certificate says."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from orchestrator_core.config.layout import Layout
from orchestrator_core.daemon.tls import ServerTls, open_tls
from orchestrator_core.errors import Refusal
from pool_managerd.app.certificate import make_certificate
from pool_managerd.app.encryption import (
    open_named_tls,
    open_own_tls,
    shown_certificate,
    wants_own_tls,
)
from pool_managerd.settings import PoolSettings

NOW_S = 1_800_000_000.0


def settings(**given: object) -> PoolSettings:
    return PoolSettings.model_validate(given)


def layout(folder: Path) -> Layout:
    layout = Layout.from_env({"LLORCH_HOME": str(folder)})
    layout.pool_folder.mkdir(parents=True)
    return layout


def read(folder: Path, *names: str) -> x509.Certificate:
    cert, key = folder / "tls.crt", folder / "tls.key"
    make_certificate(cert, key, names=names, now_unix_s=NOW_S)
    assert isinstance(open_tls(cert, key), ServerTls)
    return x509.load_pem_x509_certificate(cert.read_bytes())


@pytest.mark.parametrize(
    ("bind", "given", "wanted"),
    [
        ("127.0.0.1:9200", {}, False),
        ("[::1]:9200", {}, False),
        ("localhost:9200", {}, False),
        ("127.0.0.1:9200", {"tls": True}, True),
        ("0.0.0.0:9200", {}, True),
        ("192.168.1.7:9200", {}, True),
        ("[::]:9200", {}, True),
        ("attic:9200", {}, True),
        ("0.0.0.0:9200", {"tls": False}, False),
        ("0.0.0.0:9200", {"insecure_lan": True}, False),
        ("0.0.0.0:9200", {"insecure_lan": True, "tls": True}, True),
        ("0.0.0.0:9200", {"tls_cert": "/c", "tls_key": "/k"}, False),
        ("nonsense", {}, False),
    ],
)
def test_when_a_certificate_of_its_own_is_shown(
    bind: str, given: dict[str, object], *, wanted: bool
) -> None:
    assert wants_own_tls(settings(bind=bind, **given)) is wanted


def test_two_settings_that_contradict_each_other_are_refused() -> None:
    refusal = open_named_tls(settings(tls=False, tls_cert="/c", tls_key="/k"))
    assert isinstance(refusal, Refusal)
    assert "remove one of them" in refusal.message
    assert open_named_tls(settings()) is None


def test_a_certificate_bears_every_name_once_and_lasts_ten_years(tmp_path: Path) -> None:
    certificate = read(tmp_path, "attic", "192.168.1.7")
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == [
        "attic", "attic.local", "192.168.1.7", "localhost", "127.0.0.1", "::1",
    ]  # fmt: skip
    now = datetime.fromtimestamp(NOW_S, UTC)
    assert certificate.not_valid_before_utc < now - timedelta(days=1)
    assert certificate.not_valid_after_utc > now + timedelta(days=3650)


@pytest.mark.parametrize("name", ["", "-", "höst", "a" * 300, "a b", "0.0.0.0", "::", "x" * 63])
def test_a_host_of_any_name_gets_one(tmp_path: Path, name: str) -> None:
    certificate = read(tmp_path, name, "0.0.0.0")
    assert len(certificate.subject.rfc4514_string()) <= 3 + 64


def test_it_is_made_once_and_kept_private(tmp_path: Path) -> None:
    where = layout(tmp_path)
    first = open_own_tls(settings(), where)
    assert isinstance(first, ServerTls)
    text = where.pool_tls_cert.read_bytes()
    where.pool_tls_key.chmod(0o644)
    again = open_own_tls(settings(), where)
    assert isinstance(again, ServerTls)
    assert where.pool_tls_cert.read_bytes() == text
    for path in (where.pool_tls_cert, where.pool_tls_key):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lost", ["pool_tls_cert", "pool_tls_key"])
def test_half_a_pair_is_made_anew(tmp_path: Path, lost: str) -> None:
    where = layout(tmp_path)
    assert isinstance(open_own_tls(settings(), where), ServerTls)
    getattr(where, lost).unlink()
    assert isinstance(open_own_tls(settings(), where), ServerTls)


def test_a_damaged_pair_is_told_with_the_way_out(tmp_path: Path) -> None:
    where = layout(tmp_path)
    assert isinstance(open_own_tls(settings(), where), ServerTls)
    where.pool_tls_key.write_text("nonsense")
    refusal = open_own_tls(settings(), where)
    assert isinstance(refusal, Refusal)
    assert f"remove {where.pool_tls_cert} and {where.pool_tls_key}" in refusal.message
    assert "\n" not in refusal.message


def test_a_machine_that_can_make_no_certificate_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pool_managerd.app.certificate", None)
    found = open_own_tls(settings(bind="0.0.0.0:9200"), layout(tmp_path))
    assert isinstance(found, Refusal)
    assert "cryptography" in found.message
    assert "tls_cert" in found.message
    assert "\n" not in found.message


def test_of_a_chain_the_orchestrator_is_told_what_the_port_shows(tmp_path: Path) -> None:
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    make_certificate(cert, key, names=["attic"], now_unix_s=NOW_S)
    own = cert.read_text("ascii")
    cert.write_text(f"subject=attic\n{own}{own}", "ascii")
    opened = open_tls(cert, key)
    assert isinstance(opened, ServerTls)
    shown = shown_certificate(opened)
    assert shown is not None
    assert shown.strip() == own.strip()
    assert shown_certificate(None) is None
