from pathlib import Path

import pytest

from orchestrator_core.errors import Code, RequestError
from pool_core.fetch.settings import DEFAULT_ENDPOINT, HubSettings

HOME = {"HOME": "/users/ada"}
TOKEN = "hf_" + "secret" * 5


def read(**env: str) -> HubSettings:
    return HubSettings.from_env(HOME | env)


def refused(**env: str) -> str:
    with pytest.raises(RequestError) as caught:
        read(**env)
    assert caught.value.code is Code.CONFIG_INVALID
    assert "secret" not in caught.value.refusal.message
    return caught.value.refusal.message


def test_nothing_set_means_the_built_in_hub() -> None:
    settings = read()
    assert settings.endpoint == DEFAULT_ENDPOINT
    assert not settings.web.is_named
    assert not settings.offline
    assert settings.token is None
    assert settings.cache_folder == Path("/users/ada/.cache/huggingface/hub")


@pytest.mark.parametrize(
    "text",
    [
        "https://hub.example",
        "http://10.0.0.7:8080",
        "https://[fd00::1]:8443",
        "https://m.example/hf",
    ],
)
def test_an_operator_may_name_another_hub(text: str) -> None:
    settings = read(HF_ENDPOINT=f"{text}/")
    assert settings.endpoint == text
    assert settings.web.is_named


@pytest.mark.parametrize(
    "text",
    [
        "hub.example",
        "ftp://hub.example",
        "https://",
        "https://h:70000",
        "https://hub.example/?a=b",
        "https://a b",
    ],
)
def test_what_is_no_address_of_a_hub_is_refused(text: str) -> None:
    assert "write https://HOST[:PORT]" in refused(HF_ENDPOINT=text)


def test_a_password_in_the_address_is_refused_without_showing_it() -> None:
    assert "set HF_TOKEN instead" in refused(HF_ENDPOINT="https://ada:secret@hub.example")


def test_the_token_is_read_and_never_shown() -> None:
    settings = read(HF_TOKEN=f" {TOKEN}\n", https_proxy="http://ada:secret@proxy:1")
    assert settings.token is not None
    assert settings.token.get_secret_value() == TOKEN
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("text", ["a b", "a\r\nX-Other: 1", "sécret", "a\tb"])
def test_a_token_that_would_break_a_header_is_refused(text: str) -> None:
    assert "characters that no token has" in refused(HF_TOKEN=text)


@pytest.fixture
def login(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n", "ascii")
    return tmp_path


def test_a_login_of_the_hub_s_own_tools_is_used(login: Path) -> None:
    assert read(HF_HOME=str(login)).token is not None
    assert read(HF_TOKEN_PATH=str(login / "token")).token is not None


def test_a_login_is_not_used_in_the_clear_or_against_the_operator_s_word(login: Path) -> None:
    assert read(HF_HOME=str(login), HF_ENDPOINT="http://10.0.0.7").token is None
    assert read(HF_HOME=str(login), HF_HUB_DISABLE_IMPLICIT_TOKEN="1").token is None


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HF_HUB_CACHE": "/c"}, "/c"),
        ({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}, "/c"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
    ],
)
def test_the_cache_lies_where_the_hub_s_own_tools_keep_it(env: dict[str, str], folder: str) -> None:
    assert read(**env).cache_folder == Path(folder)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_is_said_by_either_variable(name: str) -> None:
    assert read(**{name: "1"}).offline
    assert read(**{name: "True"}).offline
    assert not read(**{name: "0"}).offline


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 30), ("5", 5), ("0", 30), ("x", 30), ("9" * 9, 30)]
)
def test_the_patience_is_set_within_bounds(text: str, seconds: float) -> None:
    assert read(HF_HUB_DOWNLOAD_TIMEOUT=text).web.read_timeout_s == seconds


def test_proxies_are_read_in_both_spellings() -> None:
    proxies = read(HTTPS_PROXY="http://big:1", https_proxy="http://small:2").web.proxies
    assert proxies.https is not None
    assert proxies.https.get_secret_value() == "http://small:2"
    every = read(ALL_PROXY="http://all:3", NO_PROXY=" A.example, ,b ").web.proxies
    assert every.http is not None
    assert every.http == every.https
    assert every.exempt == ("a.example", "b")
