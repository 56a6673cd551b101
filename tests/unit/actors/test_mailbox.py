"""Bounded mailboxes: what happens when they are full, sealed and closed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.actors import LossyMailbox, Mailbox
from runtime.errors import ActorDown, MailboxFull


async def test_messages_come_out_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    for number in range(3):
        await mailbox.put(number)
    assert len(mailbox) == 3
    assert [await mailbox.receive() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(trio.WouldBlock):
        mailbox.receive_nowait()


async def test_a_full_mailbox_makes_put_wait_and_try_put_fail(nursery: trio.Nursery) -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.try_put(1)
    with pytest.raises(MailboxFull, match="already holds 1 messages"):
        mailbox.try_put(2)
    nursery.start_soon(mailbox.put, 3)
    await wait_all_tasks_blocked()
    assert await mailbox.receive() == 1
    assert await mailbox.receive() == 3


async def test_a_sealed_mailbox_refuses_new_messages_and_drains_the_old(nursery: trio.Nursery) -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.try_put(1)
    mailbox.try_put(2)
    refused = []

    async def late() -> None:
        with pytest.raises(ActorDown):
            await mailbox.put(3)
        refused.append(3)

    nursery.start_soon(late)
    await wait_all_tasks_blocked()
    mailbox.seal()
    with pytest.raises(ActorDown):
        mailbox.try_put(4)
    assert [message async for message in mailbox] == [1, 2]
    assert refused == [3]
    with pytest.raises(trio.EndOfChannel):
        mailbox.receive_nowait()


async def test_a_closed_mailbox_drops_what_it_holds() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.try_put(1)
    mailbox.close()
    with pytest.raises(ActorDown):
        await mailbox.put(2)
    assert len(mailbox) == 0


async def test_a_lossy_mailbox_drops_the_oldest_and_counts() -> None:
    mailbox: LossyMailbox[int] = LossyMailbox(3)
    for number in range(10):
        mailbox.put(number)
    mailbox.close()
    mailbox.put(11)
    assert mailbox.dropped == 7
    assert len(mailbox) == 3
    assert [message async for message in mailbox] == [7, 8, 9]


async def test_the_reader_of_a_lossy_mailbox_waits_for_news(nursery: trio.Nursery) -> None:
    mailbox: LossyMailbox[str] = LossyMailbox()
    seen = []

    async def read() -> None:
        seen.extend([message async for message in mailbox])

    nursery.start_soon(read)
    for message in ("a", "b"):
        await wait_all_tasks_blocked()
        mailbox.put(message)
    await wait_all_tasks_blocked()
    mailbox.close()
    await wait_all_tasks_blocked()
    assert seen == ["a", "b"]


@pytest.mark.parametrize("kind", [Mailbox, LossyMailbox])
def test_a_mailbox_without_room_is_refused(kind: type[Mailbox[int]] | type[LossyMailbox[int]]) -> None:
    with pytest.raises(ValueError, match="at least 1 message, not 0"):
        kind(0)
