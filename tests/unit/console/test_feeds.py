"""Who keeps a picture up to date, the runs of a console, their logs, and commands as children."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from mlxd_wire import monitor_pb2 as pb

from console.client.commands import Done, command
from console.client.feeds import FolderFeed, StreamFeed, control_in, no_control
from console.client.folder import FACTS_AT_ONCE
from console.client.logs import MOST_AT_ONCE, FolderLogs, StreamedLogs
from console.client.picture import Picture
from console.client.replay import ReplayFeed
from console.client.targets import Target, Targets, moment_of
from console.client.wire import Unreachable
from runtime.events import EvaluationFinished
from runtime.ids import Step
from runtime.view.cards import RunCard
from runtime.view.codec import encode
from runtime.view.logfiles import MOST_BYTES
from tests.unit.console.seats import BEGAN_SECONDS, console, in_console, settled, shown, target, written
from tests.unit.view.told import begun, steps

LINE = "2026-11-23 01:02:03,{:03d} WARNING mlx-distributed: number {}\n"


def test_one_of_several_targets_is_shown_and_they_come_and_go(tmp_path: Path) -> None:
    folders = [written(tmp_path / name, [*begun(), *steps(1, 4)]) for name in ("a", "b", "c")]
    one, two, three = map(target, folders)

    async def used() -> None:
        targets = Targets([one, two])
        assert targets.current is one
        targets.start()
        targets.add(three)
        targets.next()
        targets.next()
        assert (targets.current, three.task is not None) == (three, True)
        targets.next()
        assert targets.current is one
        await targets.remove(one)
        assert (targets.current, one.task) == (two, None)
        targets.show(three)
        await targets.remove(three)
        await targets.remove(two)
        assert (targets.current, targets.moment(1.0, 1.0)) == (None, None)
        targets.next()
        await targets.stop()

    asyncio.run(used())


def test_an_old_picture_is_shown_as_of_when_it_was_heard() -> None:
    feed = StreamFeed(no_control)
    told = Target("far", feed)
    feed.picture.take(pb.Frame(epoch=1, is_whole=True, wall_seconds=1005.0), 10.0, 1000.0)
    live, stale = moment_of(told, 11.0, 1001.0), moment_of(told, 52.0, 1042.0)
    assert (live.liveness, live.is_believable, live.now_seconds) == ("live", True, 1006.0)
    assert (stale.liveness, stale.is_believable, stale.age_seconds, stale.now_seconds) == ("stale", False, 42.0, 1005.0)
    assert feed.trouble == ""


def test_a_journal_of_a_run_that_lives_is_shown_as_connecting() -> None:
    picture = Picture()
    picture.replayed({}, [], {}, 7.0)
    assert (picture.liveness(1.0), picture.is_journal, picture.told_seconds) == ("replay", True, 7.0)
    picture.expects_monitor = True
    assert picture.liveness(1.0) == "connecting"


def test_a_run_that_cannot_be_read_or_steered_says_why(tmp_path: Path) -> None:
    async def used() -> None:
        feed = FolderFeed(tmp_path, lambda: False)
        async with console(Target("x", feed)) as (_, pilot):
            await settled(pilot)
            assert feed.trouble == f"{tmp_path}/events.jsonl cannot be read: No such file or directory"
        with pytest.raises(Unreachable, match="not running"):
            await control_in(tmp_path)()
        with pytest.raises(Unreachable, match="no way to steer"):
            await no_control()

    in_console(used)


def test_a_killed_run_is_known_by_its_lock_and_not_by_the_socket_that_it_left(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])
    (folder / "control.sock").touch()

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await settled(pilot)
            app.tick()
            await settled(pilot)
            assert "NOT RUNNING" in shown(app)
        alive = Target("x", FolderFeed(folder, lambda: True))
        async with console(alive) as (app, pilot):
            await settled(pilot)
            app.tick()
            await settled(pilot)
            first = shown(app).splitlines()[0]
            assert ("step 4" in first, "connecti" in first) == (True, True)

    in_console(used)


def test_who_shares_the_loop_has_many_turns_while_a_long_journal_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "long", [*begun(), *steps(1, 1000)])

    async def shares_of(feed: FolderFeed | ReplayFeed) -> list[float]:
        task, shares = asyncio.create_task(feed.run()), []
        async with asyncio.timeout(60):
            while not feed.picture.has_rows:
                await asyncio.sleep(0)
                shares.append(feed.picture.read_share or 0.0)
        assert feed.picture.read_share is None
        task.cancel()
        await asyncio.wait([task])
        return shares

    for feed in (FolderFeed(folder, lambda: False), ReplayFeed(folder)):
        shares = asyncio.run(shares_of(feed))
        assert len({*shares}) > 1000 // FACTS_AT_ONCE
        assert 0.9 < max(shares) <= 1.0


async def turns_until(is_so: Callable[[], bool]) -> None:
    turn = asyncio.Event()
    while not is_so():
        asyncio.get_running_loop().call_soon(turn.set)
        await turn.wait()
        turn.clear()


def test_a_monitor_that_is_heard_ends_the_reading_of_a_long_journal(tmp_path: Path) -> None:
    folder = written(tmp_path / "long", [*begun(), *steps(1, 1000)])
    (folder / "control.sock").touch()
    feed = FolderFeed(folder, lambda: True)

    async def used() -> None:
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(60):
            await turns_until(lambda: feed.picture.read_share is not None)
            row = pb.Row(topic="run", card=encode(RunCard()))
            feed.picture.take(pb.Frame(epoch=1, is_whole=True, rows=[row]), 1.0, 1.0)
            await turns_until(lambda: feed.picture.read_share is None)
        assert (feed.picture.is_journal, feed.picture.view.run.step) == (False, 0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(used())


def test_a_replay_begins_at_the_beginning_and_goes_anywhere(tmp_path: Path) -> None:
    facts = [*begun(), *steps(1, 600)]
    folder = written(tmp_path / "long", facts)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b"no fact\n{half")
    feed = ReplayFeed(folder)

    async def used() -> None:
        async with console(Target("long", feed)) as (app, pilot):
            for _ in range(5):
                await settled(pilot)
            assert feed.begin_seconds == BEGAN_SECONDS + 1
            assert feed.end_seconds == BEGAN_SECONDS + len(facts)
            app.tick()
            await settled(pilot)
            assert "REPLAY" in shown(app)
            feed.seek(BEGAN_SECONDS + len(begun()) + 300)
            assert feed.picture.view.run.step == 300
            assert feed.picture.told_seconds == feed.at_seconds
            feed.seek(BEGAN_SECONDS + len(begun()) + 7)
            assert feed.picture.view.run.step == 7
            feed.seek(1e12)
            assert feed.picture.view.run.step == 600
            feed.play()
            assert (feed.is_playing, feed.at_seconds) == (True, feed.begin_seconds)
            feed.play()
            await pilot.press("greater_than_sign")
            assert feed.at_seconds > feed.begin_seconds
            await pilot.press("less_than_sign", "right_parenthesis")
            assert feed.at_seconds in feed.marks
            before = feed.at_seconds
            await pilot.press("right_parenthesis", "left_parenthesis")
            assert feed.at_seconds == before
            await pilot.press("ctrl+t")
            await settled(pilot)
            assert "10 x" in shown(app)

    in_console(used)


def test_a_replay_of_nothing_says_so(tmp_path: Path) -> None:
    feed = ReplayFeed(tmp_path)
    asyncio.run(feed.run())
    assert "cannot be read" in feed.trouble
    feed.seek(5.0)
    assert feed.at_seconds == 0.0


def test_logs_begin_with_the_newest_lines_and_follow(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "worker-0.log"
    path.parent.mkdir()
    path.write_text("".join(LINE.format(n, n) for n in range(5)))
    told = FolderLogs(tmp_path)
    told.look()
    assert (len(told.lines), told.version) == (5, 5)
    with path.open("a") as file:
        file.write(LINE.format(5, 5))
    told.look()
    told.look()
    assert (told.lines[-1].text.endswith("number 5"), told.version, told.skipped) == (True, 6, 0)


def test_a_flood_of_lines_is_passed_over_and_said(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "worker-0.log"
    path.parent.mkdir()
    path.write_text(LINE.format(0, 0))
    told = FolderLogs(tmp_path)
    told.look()
    path.write_text("".join(LINE.format(1, n) for n in range(MOST_AT_ONCE + 100)))
    told.look()
    assert (told.skipped, told.lines[-1].text.endswith("599")) == (99, True)
    with path.open("a") as file:
        file.write("".join(LINE.format(2, n) for n in range(2 * MOST_BYTES // 50)))
    told.look()
    assert told.skipped == 100
    assert len(told.lines) <= told.lines.maxlen if told.lines.maxlen else False


def test_logs_of_elsewhere_go_on_where_they_were() -> None:
    told = StreamedLogs(no_control)
    entries = [pb.LogEntry(source="worker-0", offset=0, level="info", wall_seconds=1.0, text="hello")]
    told.take(pb.LogBatch(entries=entries, cursor={"worker-0": 6}, skipped=2))
    assert (told.lines[0].text, told.skipped, told.version) == ("hello", 2, 1)

    async def used() -> None:
        task = asyncio.create_task(told.run())
        async with asyncio.timeout(60):
            while not told.trouble:
                await asyncio.wait([task], timeout=0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(used())
    assert "no way to steer" in told.trouble


def test_a_command_ends_with_a_sentence() -> None:
    async def used() -> tuple[Done, Done]:
        version = await command("--version")
        late = await command("--version", within_seconds=0.0)
        return version, late

    version, late = asyncio.run(used())
    assert (version.code, version.sentence.startswith("mlx-distributed ")) == (0, True)
    assert (late.code, late.sentence) == (1, "`mlx-distributed --version` has not ended within 0 s")
    assert [Done(*each).sentence for each in ((0, "", ""), (3, "x", ""), (2, "", "hm\nerror: no\n"))] == [
        "done",
        "exit code 3",
        "no",
    ]


def test_of_very_many_curves_of_a_journal_only_those_that_are_visible_are_drawn(tmp_path: Path) -> None:
    scores = tuple((f"score-{n}", 0.5) for n in range(100))
    scored = EvaluationFinished(Step(4), "valid", 2.0, tokens=9, metrics=scores)
    folder = written(tmp_path / "many", [*begun(), *steps(1, 4), scored])
    feed = FolderFeed(folder, lambda: False)

    async def used() -> None:
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(60):
            await turns_until(lambda: feed.picture.has_rows)
        task.cancel()
        await asyncio.wait([task])
        assert {"loss", "valid/loss"} <= feed.picture.curves.keys()
        assert len(feed.picture.curves) < 10
        feed.watch(["valid/score-7"])
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(60):
            await turns_until(lambda: "valid/score-7" in feed.picture.curves)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(used())
    assert len(feed.picture.metrics) > 100
