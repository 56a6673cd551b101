"""The coordinator's book of checkpoints, and the core that writes in it: who writes, who seals, what counts."""

from __future__ import annotations

from dataclasses import replace

from runtime import events as facts
from runtime.cluster.messages import RestorePoint, Save, Seal, ShardWritten
from runtime.cluster.saves import Saves
from runtime.cluster.signals import Phase, Position
from runtime.events import CheckpointFailed, CheckpointWritten
from runtime.ids import Cursor, Generation, Rank, Step
from tests.unit.cluster.world import PLAN, World, done_of

THREE = (Rank(0), Rank(1), Rank(2))
SAVES = replace(PLAN, workers=3, checkpoint_every=1, steps=4)


def begun(saves: Saves, step: int, *writers: int) -> str:
    """The name of an attempt at `step`."""
    at = Position(Step(step), Cursor(step), {})
    return saves.begin(at, Generation(1), [Rank(rank) for rank in writers or (0,)], 0.0).attempt


def book(*steps: int) -> Saves:
    saves = Saves([RestorePoint(Step(0), Cursor(0), "")])
    for step in steps:
        saves.done(done_of(step, begun(saves, step)))
    return saves


def share(attempt: str, rank: int, shards: int = 3) -> ShardWritten:
    return ShardWritten(Step(1), attempt, shards, f"files of {rank}")


def test_the_book_keeps_the_newest_four_points_newest_first() -> None:
    assert [point.step for point in book(1, 2, 3, 4, 5).points] == [5, 4, 3, 2]


def test_a_failed_checkpoint_is_no_point() -> None:
    saves = book(1)
    attempt = begun(saves, 2)
    assert not saves.may_begin
    assert saves.done(done_of(2, attempt, "full")) == CheckpointFailed(Step(2), "full")
    assert saves.newest.step == 1
    assert saves.writing is None


def test_a_late_report_does_not_hide_a_newer_point() -> None:
    saves = book()
    first = begun(saves, 1)
    saves.lost(Rank(0))
    assert saves.may_begin
    second = begun(saves, 2, 1)
    for step, attempt in ((2, second), (1, first)):
        assert isinstance(saves.done(done_of(step, attempt)), CheckpointWritten)
    assert [point.step for point in saves.points] == [2, 1, 0]


def test_the_failure_of_an_attempt_that_was_given_up_is_no_news() -> None:
    saves = book()
    first = begun(saves, 1)
    saves.lost(Rank(0))
    second = begun(saves, 1, 1)
    assert saves.done(done_of(1, first, "full")) is None
    assert saves.writing == 1
    assert saves.done(done_of(1, second)) is not None


def test_the_loss_of_a_worker_that_writes_nothing_changes_nothing() -> None:
    saves = book(1)
    saves.lost(Rank(0))
    assert not saves.wanted


def test_points_of_a_branch_that_was_left_are_forgotten() -> None:
    saves = book(1, 2, 3)
    attempt = begun(saves, 4)
    saves.forget_after(Step(2))
    assert saves.writing is None
    assert saves.done(done_of(4, attempt)) is None
    assert [point.step for point in saves.points] == [2, 1, 0]


def test_a_step_of_another_branch_is_not_taken_for_the_one_that_was_left() -> None:
    saves = book(1)
    left = begun(saves, 3)
    saves.forget_after(Step(1))
    taken = begun(saves, 3)
    assert saves.done(done_of(3, left)) is None
    assert saves.newest.step == 1
    saves.done(done_of(3, taken))
    assert saves.newest.step == 3


def test_a_point_on_disk_is_not_saved_again() -> None:
    saves = book(3)
    saves.consider(replace(PLAN, checkpoint_every=3), Step(3), 0.0)
    assert not saves.wanted
    assert (saves.holds(Step(3)), saves.holds(Step(0))) == (True, False)


def test_the_seal_follows_the_last_share_and_has_the_files_in_the_writers_order() -> None:
    saves = book()
    attempt = begun(saves, 1, *THREE)
    assert saves.written(Rank(2), share(attempt, 2)) is None
    assert saves.written(Rank(2), share(attempt, 2)) is None
    assert saves.written(Rank(0), share(attempt, 0)) is None
    expected = Seal(Step(1), attempt, ("files of 0", "files of 1", "files of 2"))
    assert saves.written(Rank(1), share(attempt, 1)) == expected
    assert saves.written(Rank(1), share(attempt, 1)) is None


def test_a_small_state_has_fewer_shares_than_writers_and_waits_for_nobody_else() -> None:
    saves = book()
    attempt = begun(saves, 1, *THREE)
    saves.lost(Rank(2))  # nobody knows yet whether it has a share
    assert saves.written(Rank(0), share(attempt, 0, shards=2)) is None
    assert saves.written(Rank(1), share(attempt, 1, shards=2)) is not None


def test_a_writer_that_is_lost_before_its_share_was_there_takes_the_attempt_with_it() -> None:
    saves = book()
    attempt = begun(saves, 1, *THREE)
    saves.written(Rank(0), share(attempt, 0))
    saves.lost(Rank(1))
    assert (saves.writing, saves.may_begin) == (None, True)
    assert saves.written(Rank(2), share(attempt, 2)) is None


def test_a_writer_that_was_lost_early_is_missed_as_soon_as_its_share_is_known_of() -> None:
    saves = book()
    attempt = begun(saves, 1, *THREE)
    saves.lost(Rank(1))
    assert saves.writing == 1
    assert saves.written(Rank(0), share(attempt, 0)) is None
    assert saves.may_begin


def test_a_writer_whose_share_is_on_disk_may_go_but_not_the_one_that_seals() -> None:
    saves = book()
    attempt = begun(saves, 1, *THREE)
    saves.written(Rank(1), share(attempt, 1))
    saves.lost(Rank(1))
    assert saves.writing == 1
    saves.lost(Rank(0))
    assert saves.may_begin


def test_all_members_of_one_host_write_and_the_first_one_seals() -> None:
    world = World(SAVES).start(0, 1, 2)
    world.vote()
    order = world.ordered(0)
    assert order.save == Save("1-1", THREE)
    for rank in (2, 1, 0):
        world.shared(rank, shards=3)
    assert world.last(0, Seal) == Seal(Step(1), "1-1", ("files of 0", "files of 1", "files of 2"))
    assert not any(isinstance(message, Seal) for message in world.told[world.sessions[1]])
    world.saved(0)
    assert world.core.saves.newest.path == "step-1"


def test_members_on_other_machines_do_not_write_to_their_own_disks() -> None:
    world = World(SAVES)
    for rank, is_away in enumerate((False, True, False)):
        world.join(rank, is_away=is_away)
    world.restore()
    world.vote()
    save = world.ordered(0).save
    assert save is not None
    assert save.writers == (0, 2)


def test_a_lost_share_is_ordered_again_at_the_next_boundary() -> None:
    world = World(SAVES).start(0, 1, 2)
    world.vote()
    world.shared(0, shards=3)
    world.leave(1)
    again = world.ordered(0)
    assert again.save is not None
    assert (again.save.writers, again.state) == ((0, 2), 1)
    assert again.save.attempt != "1-1"
    for rank in (0, 2):
        world.shared(rank)
    world.saved(0)
    assert [fact.step for fact in world.facts(facts.CheckpointWritten)] == [1]


def test_the_last_checkpoint_is_ordered_again_when_a_share_turns_out_to_be_lost() -> None:
    world = World(replace(SAVES, checkpoint_every=0, steps=1)).start(0, 1, 2)
    world.vote()
    assert world.is_in(Phase.CLOSING)
    first = world.ordered(0)
    world.leave(2)
    world.shared(0, shards=3, order=first)
    second = world.ordered(0)
    assert second.save is not None
    assert second.save.writers == (0, 1)
    for rank in (0, 1):
        world.shared(rank)
    world.saved(0)
    assert world.ended is not None
    assert world.ended.outcome == "done"


def test_in_a_pause_what_a_lost_writer_left_undone_is_written_by_the_others() -> None:
    world = World(replace(SAVES, min_workers=3)).start(0, 1, 2)
    world.vote()
    world.leave(2)
    assert world.is_in(Phase.PAUSED)
    world.leave(0)
    save = world.ordered(1).save
    assert save is not None
    assert save.writers == (1,)


def test_in_a_pause_a_share_that_turns_out_to_be_lost_is_written_by_those_who_are_left() -> None:
    world = World(replace(SAVES, min_workers=3)).start(0, 1, 2)
    world.vote()
    first = world.ordered(0)
    world.leave(2)
    assert world.is_in(Phase.PAUSED)
    assert world.ordered(0) is first  # nobody knows yet whether the third one had a share
    world.shared(0, shards=3, order=first)
    save = world.ordered(0).save
    assert save is not None
    assert save.writers == (0, 1)
    assert world.is_in(Phase.PAUSED)
