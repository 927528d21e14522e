"""Keys of the pool's API: who is who, and files that only their owner can read."""

from pathlib import Path

from pool_managerd.runtime.keyring import (
    Caller,
    Keyring,
    read_or_create_key,
)


def test_tells_the_operator_from_the_orchestrator() -> None:
    keys = Keyring("operator-key")
    control = keys.offer()
    assert keys.identify("operator-key") is Caller.OPERATOR
    assert keys.identify(control) is Caller.ORCHESTRATOR
    assert keys.identify("") is None
    assert keys.identify(control[:-1]) is None
    assert keys.identify("schlüssel") is None


def test_the_old_control_key_lives_until_the_new_session_is_accepted() -> None:
    keys = Keyring("operator-key")
    first = keys.offer()
    keys.settle()
    second = keys.offer()
    assert keys.identify(first) is Caller.ORCHESTRATOR
    assert keys.identify(second) is Caller.ORCHESTRATOR
    keys.settle()
    assert keys.identify(first) is None
    assert keys.identify(second) is Caller.ORCHESTRATOR


def test_makes_a_private_key_once(tmp_path: Path) -> None:
    path = tmp_path / "pool.key"
    key = read_or_create_key(path)
    assert len(bytes.fromhex(key)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_create_key(path) == key


def test_closes_a_key_file_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "pool.key"
    path.write_text("given\n")
    path.chmod(0o644)
    assert read_or_create_key(path) == "given"
    assert path.stat().st_mode & 0o777 == 0o600
