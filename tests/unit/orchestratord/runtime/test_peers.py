"""Who is told of whom."""

from pydantic import SecretStr

from orchestrator_core.ids import PoolId
from orchestratord.runtime.peers import PEERS_MAX, SharingPool, peers_for


def pool(name: str) -> SharingPool:
    return SharingPool(PoolId(name), f"https://{name}:9200", "PEM", SecretStr(f"key-{name}"))


def test_a_pool_is_told_of_all_others_in_the_order_of_their_names() -> None:
    found = peers_for(PoolId("mac"), [pool("tower"), pool("mac"), pool("box")])
    assert [peer.pool_id for peer in found] == ["box", "tower"]
    assert found[0].key.get_secret_value() == "key-box"


def test_no_more_are_told_than_an_answer_holds() -> None:
    many = [pool(f"p{number:03d}") for number in range(200)]
    assert len(peers_for(PoolId("mac"), many)) == PEERS_MAX
    assert peers_for(PoolId("mac"), []) == ()


def test_a_printed_pool_shows_neither_key_nor_certificate() -> None:
    assert "key-box" not in repr(pool("box"))
    assert "PEM" not in repr(pool("box"))
