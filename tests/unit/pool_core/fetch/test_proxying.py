import pytest
from pydantic import SecretStr

from pool_core.fetch.origin import Hop
from pool_core.fetch.proxying import judge_proxy, proxy_for
from pool_core.fetch.settings import Proxies

HUB = Hop("https", "hub.example", 443)


def proxies(*exempt: str) -> Proxies:
    return Proxies(
        http=SecretStr("http://plain:1"), https=SecretStr("http://secure:2"), exempt=exempt
    )


def through(hop: Hop, given: Proxies) -> str | None:
    proxy = proxy_for(hop, given)
    return proxy.get_secret_value() if proxy is not None else None


def test_each_scheme_has_its_proxy() -> None:
    assert through(HUB, proxies()) == "http://secure:2"
    assert through(Hop("http", "hub.example", 80), proxies()) == "http://plain:1"
    assert through(HUB, Proxies()) is None


@pytest.mark.parametrize(
    "rule", ["*", "hub.example", ".example", "example", "*.example", "hub.example:443"]
)
def test_an_exempt_host_is_called_directly(rule: str) -> None:
    assert through(HUB, proxies("other.test", rule)) is None


@pytest.mark.parametrize("rule", ["ub.example", "hub.example:80", "hub", "hub.example.com", ""])
def test_a_rule_for_another_host_exempts_nobody(rule: str) -> None:
    assert through(HUB, proxies(rule)) == "http://secure:2"


@pytest.mark.parametrize("rule", ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:443"])
def test_networks_and_addresses_are_exempt_too(rule: str) -> None:
    assert through(Hop("https", "10.1.2.3", 443), proxies(rule)) is None
    assert through(Hop("https", "11.1.2.3", 443), proxies(rule)) == "http://secure:2"


@pytest.mark.parametrize("rule", ["[fd00::1]:443", "[fd00::1]", "fd00::1", "fd00::/8"])
def test_addresses_of_six_groups_are_exempt_with_and_without_brackets(rule: str) -> None:
    assert through(Hop("https", "fd00::1", 443), proxies(rule)) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_never_called_through_a_proxy(host: str) -> None:
    assert through(Hop("http", host, 80), proxies()) is None


@pytest.mark.parametrize("text", ["socks5://x:1", "proxy:3128", "http:x", "ftp://x"])
def test_a_proxy_of_another_kind_is_refused_without_showing_it(text: str) -> None:
    refusal = judge_proxy(SecretStr(text))
    assert refusal is not None
    assert text not in refusal.message


def test_plain_and_secure_proxies_are_spoken_to() -> None:
    assert judge_proxy(SecretStr("http://user:word@proxy:3128")) is None
    assert judge_proxy(SecretStr("https://proxy")) is None
