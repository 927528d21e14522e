import socket

from pool_core.workers.ports import FIRST, LAST, candidates, choose_port, is_free


def test_offers_the_whole_range_but_what_is_spoken_for() -> None:
    offered = list(candidates({FIRST, FIRST + 2, 9200}))
    assert offered[:2] == [FIRST + 1, FIRST + 3]
    assert offered[-1] == LAST


def test_takes_the_first_port_that_is_really_free() -> None:
    assert choose_port({8001}, lambda port: port > 8004) == 8005


def test_says_so_when_the_range_is_used_up() -> None:
    assert choose_port(set(), lambda _port: False) is None


def test_a_listener_takes_its_port_and_gives_it_back() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert not is_free(port)
    assert is_free(port)


def test_a_listener_on_every_address_takes_the_port_too() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])
