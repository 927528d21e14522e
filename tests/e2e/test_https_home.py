"""Home mode over HTTPS: the commands and the pool know the daemon by its certificate file."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.certificates import EXPIRED, OTHER_KEY, SIGNED, tls_files
from support.home import Home

pytestmark = pytest.mark.e2e

ANSWERS = json.loads((Path(__file__).parents[1] / "support/answers.json").read_text("utf-8"))
PROMPT = "What is a worker?"


def encrypt(home: Home, cert: str = SIGNED) -> None:
    """Write the settings as an operator does."""
    cert_file, key_file = tls_files(home.folder / "tls", cert)
    settings = home.folder / "config/orchestrator.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"tls_cert = {str(cert_file)!r}\ntls_key = {str(key_file)!r}\n")


@pytest.mark.parametrize("cert", [SIGNED, EXPIRED], ids=["of another name", "expired"])
def test_everything_of_this_machine_works_over_https(empty_home: Home, cert: str) -> None:
    encrypt(empty_home, cert)
    home = empty_home.start()

    assert home.url.startswith("https://127.0.0.1:")
    assert home.url in home.llorch("orchestrator", "status").must().out
    asked = ("jobs", "submit", "--model", "tiny-chat", "--prompt", PROMPT)
    assert home.llorch(*asked).must().out == ANSWERS["tiny-chat"][PROMPT] + "\n"
    with pytest.raises(httpx.HTTPError):
        httpx.get(home.url.replace("https:", "http:") + "/livez", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(home.url + "/livez", trust_env=False)
    assert ("has expired" in home.log("orchestratord")) is (cert is EXPIRED)


def test_a_pool_finds_its_orchestrator_again_behind_a_new_certificate(empty_home: Home) -> None:
    encrypt(empty_home)
    home = empty_home.start()
    encrypt(home, EXPIRED)
    home.llorch("orchestrator", "stop").must()
    home.start()

    asked = ("jobs", "submit", "--model", "tiny-chat", "--prompt", PROMPT)
    assert home.llorch(*asked).must().out == ANSWERS["tiny-chat"][PROMPT] + "\n"


def test_a_pair_that_does_not_fit_is_one_line_and_78(tmp_path: Path) -> None:
    home = Home(tmp_path)
    cert_file, key_file = tls_files(tmp_path / "tls", SIGNED, OTHER_KEY)
    env = {
        **home.env,
        "LLORCH_ORCHESTRATOR_TLS_CERT": str(cert_file),
        "LLORCH_ORCHESTRATOR_TLS_KEY": str(key_file),
    }
    program = Path(sys.executable).parent / "orchestratord"
    done = subprocess.run(
        [str(program)], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert f"{key_file} does not belong to the certificate" in done.stderr
