"""References over restarts: nobody waits for a dead actor, and no end is missed."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.actors import Address, Context, Down, Mailbox, Reply
from runtime.errors import ActorDown, MailboxFull
from runtime.ids import ActorPath, Incarnation


@dataclass(frozen=True)
class Double:
    """A question."""

    number: int
    reply: Reply[int]


def opened(capacity: int = 4, incarnation: int = 1) -> tuple[Address[Any], Mailbox[Any]]:
    address: Address[Any] = Address("run/doubler", capacity)
    return address, address.open(Incarnation(incarnation))


async def doubler(inbox: Mailbox[Double]) -> None:
    async for question in inbox:
        if question.number < 0:
            question.reply.fail(ValueError("too small"))
        question.reply.send(question.number * 2)


async def refused(call: Awaitable[object], words: str) -> None:
    with pytest.raises(ActorDown, match=words):
        await call


async def test_ask_returns_the_answer_or_raises_the_error_that_was_answered(nursery: trio.Nursery) -> None:
    address, inbox = opened()
    nursery.start_soon(doubler, inbox)
    assert await address.ref.ask(lambda reply: Double(21, reply), within=60) == 42
    with pytest.raises(ValueError, match="too small"):
        await address.ref.ask(lambda reply: Double(-1, reply), within=60)
    inbox.seal()


async def test_ask_fails_at_once_when_the_actor_ends_before_it_answers(nursery: trio.Nursery) -> None:
    address, inbox = opened()

    async def end_instead() -> None:
        await inbox.receive()
        address.close("killed by SIGKILL")

    nursery.start_soon(end_instead)
    with pytest.raises(ActorDown, match="is down: killed"):
        await address.ref.ask(lambda reply: Double(1, reply), within=1000)


async def test_ask_fails_at_once_when_the_actor_restarts_meanwhile(nursery: trio.Nursery) -> None:
    address, inbox = opened()

    async def restart_instead() -> None:
        await inbox.receive()
        address.close("crashed")
        address.open(Incarnation(2))

    nursery.start_soon(restart_instead)
    with pytest.raises(ActorDown, match="run/doubler is "):
        await address.ref.ask(lambda reply: Double(1, reply), within=1000)


async def test_an_answer_given_just_before_the_end_counts(nursery: trio.Nursery) -> None:
    address, inbox = opened()

    async def last_answer() -> None:
        (await inbox.receive()).reply.send(7)
        address.close("done")

    nursery.start_soon(last_answer)
    assert await address.ref.ask(lambda reply: Double(1, reply), within=60) == 7


async def test_ask_has_a_deadline(autojump_clock: MockClock) -> None:
    address, _ = opened()
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await address.ref.ask(lambda reply: Double(1, reply), within=3)
    assert trio.current_time() - began == 3


async def test_the_deadline_covers_the_wait_for_room(autojump_clock: MockClock) -> None:
    address, _ = opened(capacity=1)
    address.ref.try_tell("first")
    with pytest.raises(trio.TooSlowError):
        await address.ref.ask(lambda reply: Double(1, reply), within=3)


async def test_telling_a_dead_actor_fails_with_the_reason() -> None:
    address, _ = opened()
    fresh: Address[str] = Address("run/later")
    with pytest.raises(ActorDown, match="run/later is down: not started yet"):
        await fresh.ref.tell("hello")
    address.close("exit code 1")
    with pytest.raises(ActorDown, match="run/doubler is down: exit code 1"):
        address.ref.try_tell("hello")


async def test_a_teller_who_waits_for_room_learns_of_the_end(nursery: trio.Nursery) -> None:
    address, _ = opened(capacity=1)
    address.ref.try_tell("first")
    with pytest.raises(MailboxFull):
        address.ref.try_tell("second")
    nursery.start_soon(refused, address.ref.tell("second"), "is down: crashed")
    await wait_all_tasks_blocked()
    address.close("crashed")


async def test_an_actor_that_stops_takes_no_more_messages() -> None:
    address, inbox = opened()
    ctx: Context[Any] = Context("run/doubler", inbox=inbox)
    ctx.ask_stop()
    with pytest.raises(ActorDown, match="run/doubler is stopping"):
        address.ref.try_tell("late")


async def test_a_restart_gives_a_fresh_mailbox_behind_the_same_ref() -> None:
    address, _ = opened()
    await address.ref.tell("lost")
    address.close("crashed")
    inbox = address.open(Incarnation(2), ActorPath("run/node/doubler"))
    await address.ref.tell("kept")
    assert (len(inbox), address.ref.incarnation, address.ref.path) == (1, 2, "run/node/doubler")
    assert repr(address.ref) == "<Ref run/node/doubler #2>"
    address.close("")
    assert repr(address.ref) == "<Ref run/node/doubler #2 down>"


async def test_a_slot_has_one_incarnation_at_a_time() -> None:
    address, _ = opened()
    with pytest.raises(RuntimeError, match="incarnation 1 is still there"):
        address.open(Incarnation(2))


async def test_no_end_is_missed_by_who_waits_for_it(nursery: trio.Nursery) -> None:
    address, _ = opened()
    seen: list[Down] = []

    async def watch(incarnation: Incarnation | None) -> None:
        seen.append(await address.ref.wait_down(incarnation))

    nursery.start_soon(watch, None)
    nursery.start_soon(watch, Incarnation(2))
    await wait_all_tasks_blocked()
    address.close("crashed")
    address.open(Incarnation(2))
    await wait_all_tasks_blocked()
    assert [(down.incarnation, down.path) for down in seen] == [(1, "run/doubler")]
    assert (await address.ref.wait_down(Incarnation(1))).incarnation == 1
    address.close("stopped")
    await wait_all_tasks_blocked()
    assert seen[1] == Down(ActorPath("run/doubler"), Incarnation(2), "stopped")


async def test_waiting_for_an_actor_to_come_up_returns_its_incarnation(nursery: trio.Nursery) -> None:
    address: Address[str] = Address("run/later")
    seen = []

    async def wait() -> None:
        seen.append(await address.ref.wait_up())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    address.open(Incarnation(3))
    await wait_all_tasks_blocked()
    assert seen == [3]
    assert await address.ref.wait_up() == 3


async def test_only_the_first_answer_counts() -> None:
    reply: Reply[int] = Reply()
    reply.send(1)
    reply.send(2)
    reply.fail(ValueError())
    assert await reply.wait() == 1
