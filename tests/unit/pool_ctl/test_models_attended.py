"""A long act beside the thread that hears Ctrl-C: one word ends it, and what it says is kept."""

import os
import signal
import threading

import pytest

from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.commands.models.attended import attend
from pool_ctl.pools.models.cancel import Cancellation


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_result_of_an_act_is_handed_on() -> None:
    assert attend(lambda _cancel: 42, say=print) == 42


def test_the_failure_of_an_act_is_raised_where_it_was_asked_for() -> None:
    def fail(_cancel: Cancellation) -> None:
        raise error_for(Refusal(Code.MODEL_NOT_FOUND, "there is none"))

    with pytest.raises(LlorchError, match="there is none"):
        attend(fail, say=print)


def test_ctrl_c_cancels_the_act_and_waits_for_its_end() -> None:
    said: list[str] = []
    heard = threading.Event()
    ended: list[bool] = []

    def act(cancel: Cancellation) -> None:
        cancel.when_set(heard.set)
        press_ctrl_c()
        assert heard.wait(10)
        ended.append(cancel.is_set())

    with pytest.raises(KeyboardInterrupt):
        attend(act, say=said.append)
    assert ended == [True]
    assert said == ["cancelling ..."]


def test_an_act_that_does_not_hear_is_left() -> None:
    let_go = threading.Event()

    def act(_cancel: Cancellation) -> None:
        press_ctrl_c()
        let_go.wait(10)

    with pytest.raises(KeyboardInterrupt):
        attend(act, say=print, patience_s=0.01)
    let_go.set()


def test_the_word_is_heard_by_those_who_come_before_and_after_it() -> None:
    heard: list[str] = []
    cancel = Cancellation()
    cancel.when_set(lambda: heard.append("before"))
    assert not cancel.is_set()
    cancel.set()
    cancel.set()
    cancel.when_set(lambda: heard.append("after"))
    assert heard == ["before", "after"]
    assert cancel.is_set()
