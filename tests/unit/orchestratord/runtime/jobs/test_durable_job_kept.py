"""What a stored job keeps of an answer that lost its worker."""

import pytest

from orchestratord.runtime.jobs.kept_text import KEPT_LIMIT_BYTES, KeptText
from orchestratord.runtime.jobs.live import Piece
from orchestratord.upstream.chunks import Chunk
from support.job_desk import ADDRESS, Desk, NoValve, open_desk, settle


@pytest.fixture
async def desk() -> Desk:
    return await open_desk()


async def test_text_that_waits_for_its_row_is_written_before_the_attempt_that_keeps_it(
    desk: Desk,
) -> None:
    desk.run()
    desk.say("one")
    desk.say(" two")
    desk.say(" three")
    assert desk.job.kept(ADDRESS) == KeptText("one two three", 3)
    desk.requeue(tokens=3, keep=3)
    desk.run(attempt=2)
    desk.say(" four")
    await settle()
    told = [(kind, data) for _, kind, data in await desk.rows()][2:]
    assert told[0] == ("token", {"t": "one", "i": 0, "n": 1})
    assert told[1] == ("token", {"t": " two three", "i": 1, "n": 2})
    assert told[2][1]["keep_tokens"] == 3
    assert told[3][0] == "started"
    # The first words of an attempt wait for nobody.
    assert told[4] == ("token", {"t": " four", "i": 3, "n": 1})
    assert desk.job.kept(ADDRESS) == KeptText("one two three four", 4)


async def test_only_the_first_tokens_are_kept_where_the_rest_was_not_told_of(desk: Desk) -> None:
    desk.run()
    desk.say("one")
    desk.requeue(tokens=1, keep=1)
    desk.run(attempt=2)
    desk.say(" two")
    desk.say(" three")
    desk.requeue(attempt=2, tokens=1, keep=1)
    assert desk.job.kept(ADDRESS) == KeptText("one", 1)


async def test_a_job_that_has_less_than_it_should_keep_has_nothing_to_go_on_behind(
    desk: Desk,
) -> None:
    desk.run()
    desk.say("one")
    desk.requeue(tokens=5, keep=5)
    assert desk.job.kept(ADDRESS) == KeptText("", 0)
    await settle()
    assert (await desk.rows())[-1][2]["keep_tokens"] == 0


async def test_thoughts_cannot_be_continued(desk: Desk) -> None:
    desk.run()
    desk.job.deliver([Piece(b"", Chunk({}, is_reasoning=True))], NoValve())
    desk.say("one")
    assert desk.job.kept(ADDRESS) is None
    # The next attempt begins without them.
    desk.requeue(tokens=1)
    desk.say("one")
    assert desk.job.kept(ADDRESS) == KeptText("one", 1)
    await settle()
    told = [data for _, kind, data in await desk.rows() if kind == "token"]
    # A restart reads of them where they were.
    assert [row.get("reasoned", False) for row in told] == [True, False]


async def test_what_is_too_long_is_not_kept(desk: Desk) -> None:
    desk.run()
    desk.say("ü" * (KEPT_LIMIT_BYTES // 2))
    assert desk.job.kept(ADDRESS) is not None
    desk.say("x")
    assert desk.job.kept(ADDRESS) is None
