"""A session is signalled member by member, also those that are born meanwhile."""

import pytest

from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.sessions import signal_members


def test_each_member_is_signalled_once() -> None:
    signalled: list[int] = []

    def signal(pid: int) -> bool:
        signalled.append(pid)
        return True

    assert signal_members(lambda: [1, 2, 3], signal)
    assert signalled == [1, 2, 3]


def test_member_that_is_born_meanwhile_is_reached_too() -> None:
    alive = [1]
    signalled: list[int] = []

    def signal(pid: int) -> bool:
        signalled.append(pid)
        alive.append(pid + 1)
        return True

    assert signal_members(lambda: alive, signal)
    assert signalled == [1, 2, 3, 4, 5], "and whoever forks for ever does not keep us"


def test_one_whom_we_may_not_signal_does_not_save_the_others() -> None:
    signalled: list[int] = []

    def signal(pid: int) -> bool:
        if pid == 1:
            raise HostError(Refusal(Code.INTERNAL, "another user's"))
        signalled.append(pid)
        return True

    assert signal_members(lambda: [1, 2], signal)
    assert signalled == [2]
    with pytest.raises(HostError, match="another user"):
        signal_members(lambda: [1], signal)


def test_nobody_is_reached_when_all_have_ended() -> None:
    assert not signal_members(lambda: [1, 2], lambda _pid: False)
    assert not signal_members(list[int], lambda _pid: True)
