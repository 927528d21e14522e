"""The hosts of llorch.toml as a file: read whole, changed safely, wrong ones named."""

from pathlib import Path

import pytest

from llorch_ctl.hosts.book import HostBook, HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.platforms.files import FileLock

MAC = HostEntry("mac", Destination("mac", "me"))


@pytest.fixture
def book(tmp_path: Path) -> HostBook:
    env = {"LLORCH_HOME": str(tmp_path)}
    return HostBook.of(CliSettings(env, Layout.from_env(env)))


def write(book: HostBook, text: str | bytes) -> None:
    book.file.parent.mkdir(parents=True, exist_ok=True)
    book.file.write_bytes(text if isinstance(text, bytes) else text.encode())


def message(caught: "pytest.ExceptionInfo[LlorchError]") -> str:
    assert caught.value.code is Code.CONFIG_INVALID
    return caught.value.refusal.message


def test_no_file_is_an_empty_book(book: HostBook) -> None:
    assert book.entries() == []
    assert book.remove("mac") is False
    assert not book.file.exists()


def test_a_host_is_put_found_and_removed(book: HostBook) -> None:
    book.put(MAC)
    assert book.entries() == [MAC]
    assert book.find("mac") == MAC
    assert book.file.stat().st_mode & 0o777 == 0o600
    assert book.remove("mac") is True
    assert book.entries() == []


def test_putting_again_changes_and_a_link_stays_a_link(book: HostBook, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_text("# mine\n")
    target.chmod(0o644)
    book.file.parent.mkdir()
    book.file.symlink_to(target)
    book.put(MAC)
    book.put(HostEntry("mac", Destination("mac2")))
    assert book.file.is_symlink()
    assert target.read_text() == '# mine\n\n[hosts.mac]\nssh = "mac2"\n'
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_name_without_an_entry_is_what_ssh_makes_of_it(book: HostBook) -> None:
    assert book.find("workstation") == HostEntry("workstation", Destination("workstation"))
    found = book.find("me@[::1]:2222")
    assert found == HostEntry("me@[::1]:2222", Destination("::1", "me", 2222))


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=id", "a b", "a\nb", "$(id)", "x" * 300, "m\u0430c", ""]
)
def test_what_is_no_name_is_refused_in_one_line(book: HostBook, name: str) -> None:
    found = book.find(name)
    assert isinstance(found, Refusal)
    assert found.message.isprintable()
    assert found.message.isascii()
    assert len(found.message) < 250


def test_the_other_hosts_may_be_wrong_where_one_is_asked_for(book: HostBook) -> None:
    write(book, '[hosts.mac]\nssh = "me@mac"\n[hosts.other]\nshh = "x"\n')
    assert book.find("mac") == MAC
    with pytest.raises(LlorchError) as caught:
        book.entries()
    assert "[hosts.other]" in message(caught)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[hosts", "llorch.toml: "),
        ("[host.mac]\n", "unknown key 'host'"),
        ("hosts = 3\n", "[hosts.NAME] tables"),
        (b"\xff", "not UTF-8"),
        ("# " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_wrong_is_named(book: HostBook, text: str | bytes, word: str) -> None:
    write(book, text)
    with pytest.raises(LlorchError) as caught:
        book.entries()
    assert word in message(caught)
    with pytest.raises(LlorchError):
        book.put(MAC)


def test_a_book_that_somebody_else_changes_is_waited_for(
    book: HostBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.put(MAC)
    lock = FileLock(book.file.with_name(".llorch.toml.lock"))
    assert lock.try_acquire()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            lock.release()

    monkeypatch.setattr("time.sleep", wait)
    assert book.remove("mac") is True
    assert len(waits) == 3


def test_a_name_that_no_host_can_have_is_never_written(book: HostBook) -> None:
    with pytest.raises(LlorchError):
        book.put(HostEntry("auto", Destination("mac")))
    assert not book.file.exists()
