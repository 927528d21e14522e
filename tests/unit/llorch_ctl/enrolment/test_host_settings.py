"""What pool.toml of a host comes to say, what of it stays, and which enrolments it forbids."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.enrolment.host_settings import pool_named_in, settings_for, with_settings
from llorch_ctl.enrolment.plan import Road, Wanted
from orchestrator_core.errors import Code, Refusal

HUB = "https://hub:8080"
OLD = """\
# Mine.
bind = "0.0.0.0:1"  # all of them
stop_grace_s = 5

[fetch]
bind = "not this one"
"""


def test_settings_are_set_where_they_stand_and_the_rest_stays() -> None:
    new = with_settings(OLD, {"bind": "127.0.0.1:9200", "pool_id": "mac"})
    assert new == (
        '# Mine.\nbind = "127.0.0.1:9200"\nstop_grace_s = 5\npool_id = "mac"\n'
        '\n[fetch]\nbind = "not this one"\n'
    )


def test_settings_that_are_so_already_change_no_byte() -> None:
    text = "tls = true\n\n\npool_id   =   \"mac\"  # by hand\nbind = '127.0.0.1:1'\r\n"
    assert with_settings(text, {"bind": "127.0.0.1:1", "pool_id": "mac"}) == text


def test_an_empty_file_is_begun() -> None:
    assert with_settings("", {"pool_id": "mac"}) == 'pool_id = "mac"\n'


def test_settings_can_be_taken_out_again() -> None:
    assert with_settings('bind = "x"\npool_id = "mac"\n', {"pool_id": None}) == 'bind = "x"\n'


@pytest.mark.parametrize("text", ["bind =", "bind = '''\na\n'''\n", "[[[", "a = '\ufffd'"])
def test_a_file_that_cannot_be_changed_line_by_line_is_left_alone(text: str) -> None:
    answer = with_settings(text, {"bind": "127.0.0.1:1"})
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFIG_INVALID


@given(st.text(min_size=1), st.text())
def test_any_value_comes_back_as_it_went_in(first: str, second: str) -> None:
    new = with_settings(OLD, {"pool_id": first, "bind": second})
    if isinstance(new, str):
        read = tomllib.loads(new)
        assert (read["pool_id"], read["bind"]) == (first, second)


@pytest.mark.parametrize("road", ["ssh", "push", "none"])
def test_a_host_that_is_a_pool_of_another_name_keeps_it(road: Road) -> None:
    answer = settings_for('pool_id = "attic"', Wanted("mac", road), url=HUB)
    assert isinstance(answer, Refusal)
    assert "llorch host remove 'attic'" in answer.message


def test_a_host_that_reports_elsewhere_by_itself_must_leave_there_first() -> None:
    text = f'orchestrator_url = "{HUB}"\n'
    for wanted, url in (
        (Wanted("mac", "ssh"), None),
        (Wanted("mac", "push"), "https://another:8080"),
    ):
        answer = settings_for(text, wanted, url=url)
        assert isinstance(answer, Refusal)
        assert "llorch pool daemon leave --host mac" in answer.message
    assert not isinstance(settings_for(text, Wanted("mac", "push"), url=HUB), Refusal)


def test_a_port_for_tunnels_alone_has_no_certificate() -> None:
    wanted = Wanted("mac", "ssh")
    assert settings_for("tls = true", wanted, url=None) == {
        "pool_id": "mac",
        "bind": "127.0.0.1:9200",
        "tls": None,
    }
    assert settings_for("", wanted, url=None) == {"pool_id": "mac", "bind": "127.0.0.1:9200"}


@pytest.mark.parametrize("text", ["", "pool_id = 5", "pool_id =", "[pool_id]"])
def test_a_host_that_does_not_say_has_no_name(text: str) -> None:
    assert pool_named_in(text) is None
