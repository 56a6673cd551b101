from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.events import CheckpointWritten, Envelope, RunFinished, StopRequested, Warned
from runtime.events.bus import EventBus, Lagged, journaled_bus, keep_synced
from runtime.events.journal import Journal
from runtime.events.replay import JournalReader
from runtime.ids import ActorPath, Step

ROOT = ActorPath("root")


def publish(bus: EventBus, count: int) -> None:
    for number in range(count):
        bus.publish(Warned("here", str(number)), ROOT)


def test_facts_are_numbered_and_stamped() -> None:
    bus = EventBus(first_seq=5, clock=lambda: 12.5)
    first = bus.publish(StopRequested("x"), ROOT)
    second = bus.publish(StopRequested("y"), ActorPath("root/node"))
    assert first == Envelope(5, 12.5, ROOT, StopRequested("x"))
    assert (second.seq, second.path) == (6, "root/node")


def test_a_sink_has_the_fact_when_publish_returns() -> None:
    bus = EventBus()
    seen: list[Envelope] = []
    bus.add_sink(seen.append)
    envelope = bus.publish(StopRequested("x"), ROOT)
    assert seen == [envelope]


def test_a_sink_may_publish_and_everybody_sees_both_in_order() -> None:
    bus = EventBus()
    seen: list[Envelope] = []

    def complain_once(envelope: Envelope) -> None:
        if envelope.seq == 1:
            bus.publish(Warned("sink", "full"), ActorPath("journal"))

    bus.add_sink(complain_once)
    bus.add_sink(seen.append)
    publish(bus, 2)
    assert [envelope.seq for envelope in seen] == [1, 2, 3]
    assert [envelope.path for envelope in seen] == ["root", "journal", "root"]


async def test_a_subscriber_gets_facts_from_now_on_and_ends_with_the_bus() -> None:
    bus = EventBus()
    publish(bus, 1)
    with bus.subscribe() as subscription:
        publish(bus, 2)
        bus.close()
        publish(bus, 1)
        assert [item.seq async for item in subscription if isinstance(item, Envelope)] == [2, 3]


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    bus = EventBus()
    subscription = bus.subscribe(capacity=3)
    publish(bus, 10)
    bus.close()
    items = [item async for item in subscription]
    assert items[0] == Lagged(7)
    assert [item.seq for item in items[1:] if isinstance(item, Envelope)] == [8, 9, 10]


async def test_lag_is_told_once_for_each_time(autojump_clock: trio.testing.MockClock) -> None:
    bus = EventBus()
    with bus.subscribe(capacity=1) as subscription:
        publish(bus, 2)
        first = [await subscription.__anext__(), await subscription.__anext__()]
        publish(bus, 1)
        assert [type(item) for item in first] == [Lagged, Envelope]
        assert isinstance(await subscription.__anext__(), Envelope)


async def test_a_waiting_subscriber_wakes_for_each_fact(autojump_clock: trio.testing.MockClock) -> None:
    bus = EventBus()
    seen: list[object] = []

    async def read() -> None:
        async for item in bus.subscribe():
            seen.append(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for expected in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked()
            publish(bus, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert len(seen) == expected
        bus.close()


async def test_a_closed_subscription_costs_nothing_more() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    publish(bus, 1)
    subscription.close()
    publish(bus, 1)
    assert [item async for item in subscription] == []


def test_a_subscription_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room for one"):
        EventBus().subscribe(capacity=0)


def test_a_journaled_bus_goes_on_with_the_numbers_and_writes_first(tmp_path: Path) -> None:
    on_disk: list[int] = []
    for _session in range(2):
        journal = Journal(tmp_path / "events.jsonl")
        bus = journaled_bus(journal)
        bus.add_sink(lambda _: on_disk.append(len(list(JournalReader(tmp_path / "events.jsonl")))))
        publish(bus, 2)
        journal.close()
    assert on_disk == [1, 2, 3, 4]


def test_a_journal_in_trouble_is_a_fact_for_everybody_else(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    bus = journaled_bus(journal)
    seen: list[Envelope] = []
    bus.add_sink(seen.append)
    journal.close()  # every write fails from here, as on a disk that is gone
    publish(bus, 3)
    assert [type(envelope.event).__name__ for envelope in seen] == ["Warned"] * 4
    assert [envelope.path for envelope in seen] == ["root", "journal", "root", "root"]
    assert journal.lost_lines == 4


async def test_the_journal_is_synced_after_checkpoints_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    bus = journaled_bus(journal)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_synced, bus, journal)
        await trio.testing.wait_all_tasks_blocked()
        bus.publish(CheckpointWritten(Step(1), "a", 1, 0.1), ROOT)
        bus.publish(StopRequested("x"), ROOT)
        bus.publish(RunFinished("done", Step(1), 1.0), ROOT)
        bus.close()
    assert len(synced) == 2
    journal.close()


async def test_a_disk_that_refuses_to_sync_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    bus, seen = journaled_bus(journal), []
    bus.add_sink(lambda envelope: seen.append(envelope.event))

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_synced, bus, journal)
        await trio.testing.wait_all_tasks_blocked()
        bus.publish(RunFinished("done", Step(1), 1.0), ROOT)
        bus.close()
    assert isinstance(seen[-1], Warned)
    assert seen[-1].text.endswith("cannot be synced: Input/output error")
    journal.close()
