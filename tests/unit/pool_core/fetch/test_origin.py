import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.origin import (
    Hop,
    Reach,
    headers_for,
    judge_address,
    judge_hop,
    reach_of,
    reach_of_name,
)

HUB = Hop("https", "hub.example", 443)
CDN = Hop("https", "cdn.example", 443)
MIRROR = Hop("http", "10.0.0.7", 8080)


def code_of(refusal: Refusal | None) -> Code | None:
    return refusal.code if refusal is not None else None


@pytest.mark.parametrize("host", ["cdn.example", "1.1.1.1", "2606:4700::1111", "a-b.c_d.example"])
def test_a_public_hub_may_send_us_into_the_world(host: str) -> None:
    assert judge_hop(Hop("https", host, 443), HUB, Reach.PUBLIC) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
def test_a_public_hub_does_not_send_us_to_an_address_that_is_not_of_the_world(host: str) -> None:
    assert code_of(judge_hop(Hop("https", host, 443), HUB, Reach.PUBLIC)) is Code.FORBIDDEN_HOST
    assert code_of(judge_address(CDN, host, Reach.PUBLIC)) is Code.FORBIDDEN_HOST


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "cdn.example.",
        "cdn..example",
        "",
        "fe80::1%eth0",
        "-cdn.example",
        "cdn example",
        "cdn.example\0",
    ],
)
@pytest.mark.parametrize("reach", Reach)
def test_a_host_that_others_may_read_otherwise_is_refused(host: str, reach: Reach) -> None:
    assert judge_hop(Hop("https", host, 443), HUB, reach) is not None


@pytest.mark.parametrize("host", ["localhost", "db", "nas.local", "vault.internal", "x.localhost"])
def test_a_public_hub_does_not_send_us_to_a_name_of_a_private_network(host: str) -> None:
    assert judge_hop(Hop("https", host, 443), HUB, Reach.PUBLIC) is not None
    assert judge_hop(Hop("https", host, 443), HUB, Reach.PRIVATE) is None


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "gopher", ""])
def test_a_secure_hub_is_never_left_for_an_insecure_place(scheme: str) -> None:
    refusal = judge_hop(Hop(scheme, "cdn.example", 443), HUB, Reach.PUBLIC)
    assert refusal is not None
    assert "not https" in refusal.message


def test_a_hub_in_the_clear_may_send_us_in_the_clear() -> None:
    assert judge_hop(Hop("http", "cdn.example", 80), MIRROR, Reach.PRIVATE) is None


def test_a_name_and_a_password_in_the_address_are_refused() -> None:
    hop = Hop("https", "cdn.example", 443, has_userinfo=True)
    assert judge_hop(hop, HUB, Reach.PUBLIC) is not None


def test_a_public_hub_does_not_send_us_to_unusual_ports() -> None:
    assert judge_hop(Hop("https", "cdn.example", 22), HUB, Reach.PUBLIC) is not None
    assert judge_hop(Hop("https", "cdn.example", 22), HUB, Reach.PRIVATE) is None


def test_the_hub_itself_is_where_the_operator_says_it_is() -> None:
    assert judge_hop(MIRROR, MIRROR, Reach.PRIVATE) is None
    assert judge_address(MIRROR, "10.0.0.7", Reach.PRIVATE) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "fd12::1", "100.64.0.9"])
def test_a_private_hub_may_send_us_to_private_places(address: str) -> None:
    assert judge_address(CDN, address, Reach.PRIVATE) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"])
def test_even_a_private_hub_does_not_send_us_everywhere(address: str) -> None:
    assert judge_address(CDN, address, Reach.PRIVATE) is not None


def test_how_far_a_hub_may_send_us_follows_from_where_it_is() -> None:
    assert reach_of(["93.184.216.34", "2606:4700::1111"]) is Reach.PUBLIC
    assert reach_of(["93.184.216.34", "10.0.0.1"]) is Reach.PRIVATE
    assert reach_of_name("hub.example") is Reach.PUBLIC
    assert reach_of_name("192.168.0.4") is Reach.PRIVATE
    assert reach_of_name("mirror") is Reach.PRIVATE


WANTED = {"Range": "bytes=5-", "X-Ours": "secret", "Cookie": "c", "User-Agent": "llorch"}


def test_the_token_and_what_is_ours_go_to_the_hub_alone() -> None:
    assert headers_for(HUB, HUB, WANTED, "token")["authorization"] == "Bearer token"
    assert headers_for(HUB, HUB, WANTED, "token")["x-ours"] == "secret"
    assert headers_for(CDN, HUB, WANTED, "token") == {"range": "bytes=5-", "user-agent": "llorch"}


@pytest.mark.parametrize(
    "other",
    [
        Hop("http", "hub.example", 443),
        Hop("https", "hub.example", 8443),
        Hop("https", "hub.example.evil.example", 443),
        Hop("https", "xhub.example", 443),
    ],
)
def test_another_scheme_port_or_host_is_another_origin(other: Hop) -> None:
    assert "authorization" not in headers_for(other, HUB, WANTED, "token")


@given(st.text(max_size=60), st.sampled_from(Reach))
def test_no_text_from_a_hub_breaks_the_judgement_or_the_line(host: str, reach: Reach) -> None:
    refusal = judge_hop(Hop("https", host, 443), HUB, reach)
    assert refusal is None or refusal.message.isprintable()
