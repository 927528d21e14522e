"""Draws the tickets of a sub-queue: start-time fair queueing between keys, ageing between classes.

A ticket starts at the queue's own virtual time or behind the key's last job, whichever is later;
each job pushes its key on by its slots over the key's weight. Pure: time comes with the jobs.
"""

from typing import Final

from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.jobs.ranked_line import Ticket

__all__ = ["FairOrder"]

_NEVER: Final = float("-inf")
_ACCOUNTS_MIN: Final = 64


class _Account:
    """Where the last job of a key ends in virtual time, what it has used up, and what waits."""

    __slots__ = ("end", "used", "waiting")

    def __init__(self) -> None:
        self.end = _NEVER
        self.used = _NEVER
        self.waiting = 0


class _Shares:
    """The virtual time of one class and the accounts of its keys."""

    __slots__ = ("accounts", "accounts_max", "virtual", "waiting")

    def __init__(self) -> None:
        self.virtual = 0.0
        self.waiting = 0
        self.accounts: dict[KeyId, _Account] = {}
        self.accounts_max = _ACCOUNTS_MIN

    def account(self, key_id: KeyId) -> _Account:
        account = self.accounts.get(key_id)
        if account is None:
            if len(self.accounts) >= self.accounts_max:
                self._close_settled()
            account = self.accounts[key_id] = _Account()
        return account

    def leave(self) -> None:
        self.waiting -= 1
        if self.waiting == 0:
            # Nobody waits behind anybody: what was owed is of no interest any more.
            self.accounts.clear()

    def _close_settled(self) -> None:
        # A key that has nothing here and owes nothing is like one that was never seen.
        virtual = self.virtual
        self.accounts = {
            key_id: account
            for key_id, account in self.accounts.items()
            if account.waiting or account.end > virtual
        }
        self.accounts_max = max(_ACCOUNTS_MIN, 2 * len(self.accounts))


class FairOrder:
    """The order of one sub-queue, shared by its lanes; it holds no jobs, only who is due what."""

    __slots__ = ("_batch_went_last", "_patience_s", "_shares")

    def __init__(self, batch_patience_s: float) -> None:
        self._patience_s = batch_patience_s
        self._batch_went_last = False
        self._shares = (_Shares(), _Shares())

    def draw(
        self,
        job_id: JobId,
        key_id: KeyId,
        *,
        queued_at: float,
        is_batch: bool,
        slots: int,
        weight: int,
    ) -> Ticket:
        """Give a job its place for good."""
        shares = self._shares[is_batch]
        account = shares.account(key_id)
        start = max(shares.virtual, account.end)
        account.end = start + slots / weight
        return Ticket(is_batch, start, queued_at, job_id, key_id, account.end)

    def entered(self, ticket: Ticket) -> None:
        """A job waits, for the first time or again."""
        shares = self._shares[ticket.is_batch]
        shares.waiting += 1
        shares.account(ticket.key_id).waiting += 1

    def served(self, ticket: Ticket) -> None:
        """A job was taken from the front: the virtual time is where it starts."""
        shares = self._shares[ticket.is_batch]
        self._batch_went_last = ticket.is_batch
        shares.virtual = max(shares.virtual, ticket.start)
        account = shares.accounts[ticket.key_id]
        account.waiting -= 1
        account.used = max(account.used, ticket.end)
        shares.leave()

    def withdrawn(self, ticket: Ticket) -> None:
        """A job left without being served; of what never ran its key owes nothing.

        It still owes what it has used: else a key that cancels would be served before all others.
        """
        shares = self._shares[ticket.is_batch]
        account = shares.accounts[ticket.key_id]
        account.waiting -= 1
        if account.waiting == 0:
            account.end = account.used
        elif ticket.end == account.end:
            account.end = ticket.start
        shares.leave()

    @property
    def accounts(self) -> int:
        """Keys that are remembered: those that wait, and some that had their share lately."""
        return sum(len(shares.accounts) for shares in self._shares)

    def overtakes(self, batch: Ticket, interactive: Ticket) -> bool:
        """True when a batch job has waited so much longer that it goes first.

        Such jobs take every other turn at most: a long backlog that has aged must not hold up
        everybody who asks for one answer.
        """
        return not self._batch_went_last and self.has_aged(batch, interactive)

    def has_aged(self, batch: Ticket, interactive: Ticket) -> bool:
        """True when a batch job has waited longer than an interactive one and its patience."""
        return batch.queued_at + self._patience_s < interactive.queued_at
