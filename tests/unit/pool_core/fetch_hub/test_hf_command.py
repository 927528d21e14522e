"""The program hf gets a plain command line, few of our variables, and never a token in sight."""

from pathlib import Path

from pydantic import SecretStr

from pool_core.fetch.hf_command import HfOrder, failure_line, hf_argv, hf_environment
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.settings import HubSettings, WebSettings

TOKEN = "hf_secret"
FILE = RemoteFile("sub/a.gguf", 7, None, "https://hub.example/acme/tiny/resolve/c/sub/a.gguf")
ORDER = HfOrder("acme/tiny", "c" * 40, FILE, Path("/partial/x"))


def settings(token: str | None = TOKEN) -> HubSettings:
    secret = SecretStr(token) if token else None
    web = WebSettings(endpoint="https://hub.example", token=secret)
    return HubSettings(web=web, cache_folder=Path("/cache"))


def test_the_command_line_names_the_commit_and_ends_its_options() -> None:
    argv = hf_argv(Path("/bin/hf"), ORDER)
    assert argv == [
        "/bin/hf", "download", "--quiet", "--revision", "c" * 40,
        "--local-dir", "/partial/x/files", "--", "acme/tiny", "sub/a.gguf",
    ]  # fmt: skip
    assert ORDER.target == Path("/partial/x/files/sub/a.gguf")


def test_the_token_goes_by_the_environment_and_our_own_keys_stay_here() -> None:
    ours = {
        "PATH": "/bin",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/ca.pem",
        "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",
        "HF_ENDPOINT": "https://other.example",
        "HF_TOKEN": "another",
        "HF_HOME": "/elsewhere",
        "LLORCH_POOL_KEY": "ours",
        "AWS_SECRET_ACCESS_KEY": "theirs",
    }
    env = hf_environment(ours, settings(), home=Path("/partial/x/home"))
    assert env == {
        "PATH": "/bin",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/ca.pem",
        "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",
        "HF_ENDPOINT": "https://hub.example",
        "HF_HOME": "/partial/x/home",
        "HF_HUB_CACHE": "/partial/x/home/hub",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
        "HF_TOKEN": TOKEN,
    }
    assert "HF_TOKEN" not in hf_environment({"HF_TOKEN": "x"}, settings(None), home=Path("/h"))


def test_the_reason_is_the_error_without_colours_links_and_tokens() -> None:
    errors = (
        "\x1b[90mHint: install something\x1b[0m\n"
        f"\x1b[1m\x1b[31mError: 503 for url 'http://cdn/x?Expires=1&Signature={TOKEN}' {TOKEN}\n"
        "For more information check: https://docs.example\x1b[0m\n"
        "Hint: set HF_DEBUG=1\n"
    )
    assert failure_line(errors, TOKEN) == "Error: 503 for url 'http://cdn/x' ***"


def test_without_an_error_line_the_last_line_is_the_reason() -> None:
    assert failure_line("Traceback\n  boom\x07\n\n", None) == "boom"
    assert failure_line("\n\n", None) is None
    assert len(failure_line("x" * 5000, None) or "") == 300
