from hypothesis import given
from hypothesis import strategies as st

from pool_core.catalog.store.accounts import Accounts, Holding

SIZES = {name: 10**number for number, name in enumerate("abcdef")}
holdings = st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=5).map(
    lambda sets: [
        Holding(f"m{number}", {name: SIZES[name] for name in names})
        for number, names in enumerate(sets)
    ]
)


def test_what_two_models_share_is_freed_with_the_second() -> None:
    accounts = Accounts([Holding("one", {"a": 1, "b": 10}), Holding("two", {"b": 10, "c": 100})])
    assert accounts.freed_bytes({"one"}) == 1
    assert accounts.freed_bytes({"one", "two"}) == 111
    assert accounts.shared_bytes("one") == 10
    assert accounts.reasons("one") == ["two uses the same content"]
    assert accounts.total_bytes == 111


def test_what_lies_elsewhere_too_is_not_freed() -> None:
    accounts = Accounts([Holding("one", {"a": 1, "b": 10})], elsewhere={"b"})
    assert accounts.freed_bytes({"one"}) == 1
    assert accounts.reasons("one") == ["another file of this host is linked to the same content"]


def test_a_model_that_is_not_here_frees_nothing() -> None:
    accounts = Accounts([Holding("one", {"a": 1})])
    assert accounts.freed_bytes({"other"}) == 0
    assert accounts.shared_bytes("other") == 0


@given(holdings, st.sets(st.sampled_from("abcdef")), st.sets(st.integers(0, 4)))
def test_nothing_is_freed_that_somebody_still_has(
    held: list[Holding], elsewhere: set[str], leaving_numbers: set[int]
) -> None:
    leaving = {f"m{number}" for number in leaving_numbers}
    freed = Accounts(held, elsewhere).freed(leaving)
    staying = {name for it in held if it.id not in leaving for name in it.blobs}
    assert not freed.keys() & (staying | elsewhere)
    gone = {name for it in held if it.id in leaving for name in it.blobs}
    assert freed.keys() == gone - staying - elsewhere


@given(holdings)
def test_all_together_free_everything(held: list[Holding]) -> None:
    accounts = Accounts(held)
    assert accounts.freed_bytes({it.id for it in held}) == accounts.total_bytes


def test_beside_a_record_that_cannot_be_read_nothing_is_freed() -> None:
    accounts = Accounts([Holding("one", {"a": 1, "b": 10})], has_unread=True)
    assert accounts.freed_bytes({"one"}) == 0
    assert accounts.shared_bytes("one") == 11
    assert accounts.reasons("one") == ["a record that cannot be read may name the same content"]
