"""Tokens and credentials: which token counts, what is kept, and what a crash may leave behind."""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files
from pool_managerd.runtime.joining import Credential, WaitingToken, judge_token
from pool_managerd.runtime.keyring import Caller, Keyring
from support.deaths import die_at, in_a_child
from support.join_desk import join_desk, lay_token

DAY_S = 24 * 3600.0


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def credential(token: str = "token", *, joined_unix_s: float = 0.0, used: bool) -> Credential:
    return Credential(
        sha256=sha("key"), token_sha256=sha(token), joined_unix_s=joined_unix_s, used=used
    )


@pytest.mark.parametrize(
    ("shown", "waiting", "last", "word"),
    [
        ("token", WaitingToken(sha("token"), 0.0), None, None),
        ("token", WaitingToken(sha("token"), DAY_S), None, None),
        ("token", WaitingToken(sha("token"), DAY_S + 1), None, "older than a day"),
        ("token", WaitingToken(sha("other"), 0.0), None, "not the token"),
        ("token", None, None, "no token waits"),
        ("token", WaitingToken(sha("token"), 0.0), credential("older", used=True), None),
        ("token", WaitingToken(sha("token"), 0.0), credential(used=True), "used already"),
        ("token", None, credential(used=True), "used already"),
        ("token", None, credential(used=False), None),
        ("token", None, credential(used=False, joined_unix_s=-DAY_S - 1), "older than a day"),
        ("other", None, credential(used=False), "no token waits"),
    ],
)
def test_which_token_counts(
    shown: str, waiting: WaitingToken | None, last: Credential | None, word: str | None
) -> None:
    refusal = judge_token(sha(shown), waiting, last, 0.0)
    if word is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.code is Code.BAD_TOKEN
        assert word in refusal.message
        assert "llorch host add" in refusal.message


async def test_a_credential_survives_a_restart_as_a_hash(tmp_path: Path) -> None:
    keyring = Keyring("operator")
    key = await join_desk(tmp_path, keyring).join(lay_token(tmp_path))
    assert isinstance(key, str)
    assert keyring.identify(key) is Caller.JOINED
    path = tmp_path / "orchestrator.cred"
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text()
    later = Keyring("operator")
    join_desk(tmp_path, later)
    assert later.identify(key) is Caller.JOINED


async def test_an_answer_that_was_lost_is_given_again_until_it_was_used(tmp_path: Path) -> None:
    keyring = Keyring("operator")
    token = lay_token(tmp_path)
    lost = await join_desk(tmp_path, keyring).join(token)
    desk = join_desk(tmp_path, keyring)
    key = await desk.join(token)
    assert isinstance(lost, str)
    assert isinstance(key, str)
    assert keyring.identify(lost) is None
    assert keyring.identify(key) is Caller.JOINED
    await desk.note_use()
    for one in (desk, join_desk(tmp_path, Keyring("operator"))):
        refusal = await one.join(token)
        assert isinstance(refusal, Refusal)
        assert "used already" in refusal.message


async def test_a_token_that_cannot_be_removed_still_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(13, f"no, {missing_ok}")

    monkeypatch.setattr(Path, "unlink", refuse)
    desk = join_desk(tmp_path, Keyring("operator"))
    token = lay_token(tmp_path)
    assert isinstance(await desk.join(token), str)
    await desk.note_use()
    assert (tmp_path / "join.token").exists()
    assert isinstance(await desk.join(token), Refusal)


async def test_nothing_is_handed_out_that_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    keyring = Keyring("operator")
    desk = join_desk(tmp_path, keyring)
    token = lay_token(tmp_path)
    monkeypatch.setattr(files, "write_atomically", full)
    refusal = await desk.join(token)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DISK_LOW
    monkeypatch.undo()
    assert isinstance(await desk.join(token), str)


async def test_ten_wrong_tokens_a_minute_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    desk = join_desk(tmp_path, Keyring("operator"), monotonic_s=lambda: now_s)

    async def guess() -> tuple[Code, int | None]:
        refusal = await desk.join("a-wrong-token-indeed")
        assert isinstance(refusal, Refusal)
        return refusal.code, refusal.retry_after_s

    assert [await guess() for _ in range(10)] == [(Code.BAD_TOKEN, None)] * 10
    assert [await guess() for _ in range(90)] == [(Code.RATE, 61)] * 90
    assert len(caplog.records) <= 10
    now_s = 60.0
    assert await guess() == (Code.BAD_TOKEN, None)


async def test_whoever_guesses_keeps_the_right_token_from_nobody(tmp_path: Path) -> None:
    desk = join_desk(tmp_path, Keyring("operator"), monotonic_s=lambda: 0.0)
    token = lay_token(tmp_path)
    for _ in range(20):
        assert isinstance(await desk.join("a-wrong-token-indeed"), Refusal)
    assert isinstance(await desk.join(token), str)


def lay_link(path: Path) -> None:
    lay_token(path.parent / "elsewhere")
    path.unlink()
    path.symlink_to(path.parent / "elsewhere/join.token")


def lay_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def lay_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def open_to_the_group(path: Path) -> None:
    path.chmod(0o640)


def shorten(path: Path) -> None:
    path.write_text("a-short-token\n")


def give_away(path: Path) -> None:
    try:
        os.chown(path, 65534, 65534)
    except PermissionError:
        pytest.skip("only root can give a file away")


@pytest.mark.parametrize(
    "spoil", [lay_link, lay_pipe, lay_folder, open_to_the_group, shorten, give_away]
)
async def test_a_token_that_others_may_have_laid_or_guess_is_none(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    token = lay_token(tmp_path)
    spoil(tmp_path / "join.token")
    desk = join_desk(tmp_path, Keyring("operator"))
    for shown in (token, "a-short-token"):
        refusal = await asyncio.wait_for(desk.join(shown), 5)
        assert isinstance(refusal, Refusal)
        assert "no token waits" in refusal.message


async def test_of_many_that_show_a_token_at_once_one_key_opens_the_pool(tmp_path: Path) -> None:
    keyring = Keyring("operator")
    desk = join_desk(tmp_path, keyring)
    token = lay_token(tmp_path)
    keys = await asyncio.gather(*(desk.join(token) for _ in range(5)))
    told = [key for key in keys if isinstance(key, str)]
    assert [keyring.identify(key) is Caller.JOINED for key in told].count(True) == 1


@pytest.mark.parametrize("death", range(1, 40))
def test_a_death_in_the_middle_leaves_a_token_or_a_credential_that_opens(
    tmp_path: Path, death: int
) -> None:
    token = lay_token(tmp_path)

    def die() -> int:
        die_at(death)
        asyncio.run(join_desk(tmp_path, Keyring("operator")).join(token))
        return 0

    ended = in_a_child(die)
    keyring = Keyring("operator")
    key = asyncio.run(join_desk(tmp_path, keyring).join(token))
    assert isinstance(key, str)
    assert keyring.identify(key) is Caller.JOINED
    assert ended in (0, -9)


async def test_a_token_ages_by_the_time_of_its_file(tmp_path: Path) -> None:
    token = lay_token(tmp_path)
    os.utime(tmp_path / "join.token", (1000, 1000))
    desk = join_desk(tmp_path, Keyring("operator"), unix_s=lambda: 1000 + DAY_S + 1)
    refusal = await desk.join(token)
    assert isinstance(refusal, Refusal)
    assert "older than a day" in refusal.message


@pytest.mark.parametrize("text", ["", "{", json.dumps({"sha256": 1})])
async def test_a_damaged_record_lets_nobody_in_and_can_be_replaced(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "orchestrator.cred").write_text(text)
    keyring = Keyring("operator")
    desk = join_desk(tmp_path, keyring)
    key = await desk.join(lay_token(tmp_path))
    assert isinstance(key, str)
    assert keyring.identify(key) is Caller.JOINED
