"""The ledger: hand-made histories for everything that it must refuse, and for everything that it must survive."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from runtime.events import (
    ActorReady,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointWritten,
    Event,
    RolledBack,
    StateHealed,
    StepAborted,
    WorkerHung,
    WorkerLost,
    WorkerRemoved,
)
from runtime.events.ledger_samples import ReadingOrder
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from tests.unit.events.ledger_histories import (
    BATCH,
    ZERO,
    audit,
    commit,
    commits,
    finished,
    generation,
    started,
)

# ---- what holds


def test_a_quiet_run_is_proven() -> None:
    told = audit(started(), generation(), commits(1, 9), finished(9))
    assert told.proven
    assert (told.steps, told.first_step, told.last_step, told.samples, told.epochs) == (9, 1, 9, 36, 3.0)
    assert (told.generations, told.sessions, told.committed, told.repeated) == (1, 1, 9, 0)
    assert set(told.faults.values()) == {0}
    assert (told.violations, told.notes) == ((), ())


def test_a_resumption_voids_what_came_after_its_checkpoint() -> None:
    told = audit(
        started(), generation(), commits(1, 5), started(4, run_id="b"), generation(), commits(4, 9), finished(9)
    )
    assert told.proven
    assert (told.steps, told.committed, told.repeated, told.sessions) == (9, 11, 2, 2)
    assert told.faults["resumptions"] == 1
    assert told.faults["steps lost in resumptions"] == 2


def test_a_resumption_from_the_beginning_voids_everything() -> None:
    assert audit(started(), commits(1, 5), started(1, run_id="b"), commits(1, 9)).proven


def test_a_rollback_voids_the_commits_after_it() -> None:
    told = audit(started(), commits(1, 6), RolledBack(Step(6), Step(2), "explosion"), generation(2), commits(3, 9, 2))
    assert told.proven
    assert (told.repeated, told.faults["rollbacks"], told.faults["steps lost in rollbacks"]) == (4, 1, 4)
    assert told.notes == ("rolled back from step 6 to 2: explosion",)


def test_the_successor_of_a_coordinator_that_committed_nothing_is_no_resumption() -> None:
    told = audit(started(), started(), commits(1, 3))
    assert told.proven
    assert (told.sessions, told.faults["resumptions"]) == (1, 0)


def test_a_run_that_began_from_a_checkpoint_elsewhere_says_so() -> None:
    told = audit(started(4), commits(4, 9))
    assert told.proven
    assert told.notes == ("the run began at step 4 from a checkpoint; what is before is another ledger's",)


def test_an_unfinished_epoch_is_no_violation() -> None:
    assert audit(started(), commits(1, 4)).proven


def test_generations_begin_anew_with_each_session() -> None:
    assert audit(started(), commits(1, 3, 7), started(4, run_id="b"), commits(4, 6, 1)).proven


def test_faults_survived_are_counted_by_kind() -> None:
    rank, incarnation, step = Rank(1), Incarnation(1), Step(1)
    told = audit(
        ActorReady(ActorPath("run/coordinator"), Incarnation(1)),
        started(),
        WorkerHung(rank, incarnation, "exchange", 9.0, 5.0),
        WorkerLost(rank, incarnation, "killed"),
        StepAborted(step, Generation(1), "worker 1 left"),
        ActorReady(ActorPath("run/coordinator"), Incarnation(2)),
        ActorReady(ActorPath("run/node/worker-1"), Incarnation(2)),
        StateHealed(rank, step, 1.0, 10),
        CheckpointFailed(step, "disk full"),
        CheckpointRejected("checkpoints/step-00000001", "truncated"),
        replace(commit(1), applied=False, loss=math.nan, grad_norm=math.inf),
    )
    assert told.proven
    assert {kind: times for kind, times in told.faults.items() if times} == {
        "workers lost": 1,
        "workers hung": 1,
        "workers healed": 1,
        "coordinator restarts": 1,
        "steps repeated": 1,
        "steps skipped": 1,
        "checkpoints failed": 1,
        "checkpoints rejected": 1,
    }


def test_a_worker_that_was_asked_to_leave_is_no_fault_and_its_successor_s_death_is_one() -> None:
    rank = Rank(1)
    lost = WorkerLost(rank, Incarnation(1), "its process or connection ended")
    assert audit(started(), commit(1), WorkerRemoved(rank, "a person"), lost).faults["workers lost"] == 0
    assert audit(started(), commit(1), WorkerRemoved(rank, "a person"), lost, lost).faults["workers lost"] == 1


# ---- what does not


def bent(step: int, **changes: Any) -> list[Event]:
    """Nine steps, with one of them bent."""
    return [replace(commit(each), **changes) if each == step else commit(each) for each in range(1, 10)]


@pytest.mark.parametrize(
    ("events", "violations"),
    [
        ([], ["no RunStarted says how many samples an epoch has", "no step was committed: there is nothing to prove"]),
        ([started()], ["no step was committed: there is nothing to prove"]),
        (commits(1, 3), ["no RunStarted says how many samples an epoch has"]),
        ([started(samples=0), *commits(1, 3)], ["no RunStarted says how many samples an epoch has"]),
        (
            [started(), *commits(1, 3), *commits(6, 9)],
            ["steps 4 to 5 are not in the ledger, though step 6 is"],
        ),
        (
            [started(), *commits(2, 9)],
            ["the ledger begins with step 2 at sample 4, the run with step 1 at sample 0"],
        ),
        (
            [started(), *commits(1, 4), *commits(4, 9)],
            ["step 4 was committed again after step 4, and nothing was rolled back"],
        ),
        (
            [started(), *commits(1, 3), started(6, run_id="b")],
            ["steps 4 to 5 are not in the ledger, though the run went on from step 5"],
        ),
        (
            [started(), *commits(1, 3), finished(4)],
            ["step 4 is not in the ledger, though the run went on from step 4"],
        ),
        (
            [started(), started(3, run_id="b"), *commits(3, 9)],
            ["the ledger begins with step 3 at sample 8, the run with step 1 at sample 0"],
        ),
        (
            [started(), *commits(1, 3), started(4, run_id="b", samples=13)],
            ["an epoch had 12 samples, and 13 from step 4 on"],
        ),
        (
            [started(), *bent(5, cursor=Cursor(17))],
            [
                "step 5 begins at sample 17, but the steps before it ended at 16",
                "step 6 begins at sample 20, but the steps before it ended at 21",
            ],
        ),
        (
            [started(), *commits(1, 3, 2), *commits(4, 9, 1)],
            ["step 4 is of generation 1, after one of 2"],
        ),
        (
            [started(), *bent(5, sample_ids=())],
            [
                "step 5 consumed 4 samples, but names 0",
                "step 5 has 0 shards with samples, but 2 with an owner",
                "samples 4, 5, 6, 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(5, owners=(ZERO,))],
            ["step 5 has 2 shards with samples, but 1 with an owner"],
        ),
        (
            [started(), *bent(5, owners=(ZERO, Rank(-1)))],
            ["step 5 counts shards of -1, no member of generation 1"],
        ),
        (
            [started(), generation(ranks=(ZERO,)), *commits(1, 1)],
            ["step 1 counts shards of 1, no member of generation 1"],
        ),
        (
            [started(), *bent(5, loss=math.nan)],
            ["step 5 was applied though its loss or its gradient is not finite"],
        ),
        (
            [started(), *bent(5, grad_norm=math.inf)],
            ["step 5 was applied though its loss or its gradient is not finite"],
        ),
        (
            [started(), *bent(5, sample_ids=((4, 5), (6, 12)))],
            [
                "step 5 names sample 12, but an epoch has samples 0 to 11",
                "sample 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(5, sample_ids=((4, 5), (6, 6)))],
            [
                "sample 6 taken more often than 2 times by the end of step 5 (6 in steps 2, 5)",
                "sample 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(2, sample_ids=commit(1).sample_ids)],
            [
                "samples 0, 1, 2, 3 taken more often than 1 times by the end of step 2 (0 in steps 1, 2)",
                "samples 4, 5, 6, 7 taken less often than 1 times by the end of step 3",
            ],
        ),
    ],
)
def test_a_history_that_breaks_a_promise_is_refused(events: list[Event], violations: list[str]) -> None:
    told = audit(events)
    assert list(told.violations) == violations
    assert not told.proven


def test_many_samples_are_told_by_the_first_of_them() -> None:
    told = audit(
        started(), [replace(event, sample_ids=((0, 0), (0, 0))) for event in (commit(1), commit(2), commit(3))]
    )
    assert told.violations[-1] == (
        "samples 1, 2, 3, 4, 5 and 6 more taken less often than 1 times by the end of step 3"
    )


@pytest.mark.parametrize("deterministic", [True, False])
def test_two_hashes_of_one_state_must_agree(deterministic: bool) -> None:
    checkpoint = CheckpointWritten(Step(3), "checkpoints/step-00000003", 1, 1.0, "aaaa")
    same, other = replace(commit(4), parameter_hash="aaaa"), replace(commit(4), parameter_hash="bbbb")
    begin = started(deterministic=deterministic)
    assert audit(begin, commits(1, 3), checkpoint, same).proven
    assert audit(begin, commits(1, 3), checkpoint, other).violations == (
        "the parameters after step 3 are aaaa by the checkpoint of step 3 and bbbb by the vote on step 4",
    )


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_repeated_step_must_give_the_same_parameters_only_in_a_deterministic_run(deterministic: bool) -> None:
    def history(number: int, digest: str) -> list[Event]:
        return [commit(3, number), replace(commit(4, number), parameter_hash=digest)]

    back = RolledBack(Step(4), Step(2), "lost")
    told = audit(started(deterministic=deterministic), commits(1, 2), history(1, "aaaa"), back, history(2, "bbbb"))
    assert told.proven is not deterministic


# ---- windows of the data order


def shuffled(windows: list[list[int]]) -> list[Event]:
    """One step for each list of four samples."""
    return [
        replace(commit(step), sample_ids=(tuple(ids[:2]), tuple(ids[2:]))) for step, ids in enumerate(windows, start=1)
    ]


ACROSS = shuffled([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 6, 7], [8, 9, 10, 11]])
"""The window of steps 3 and 4 holds the end of one epoch and the beginning of the next."""


def test_a_window_may_mix_the_end_of_an_epoch_with_the_beginning_of_the_next() -> None:
    assert audit(started(), ACROSS, order=ReadingOrder(2 * BATCH)).proven
    assert audit(started(), ACROSS).violations[0].startswith("samples 0, 1 taken more often than 1 times")


def test_a_sample_that_comes_twice_within_its_window_is_refused_at_the_windows_end() -> None:
    wrong = shuffled([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 8, 9], [0, 3, 10, 11]])
    assert audit(started(), wrong, order=ReadingOrder(2 * BATCH)).violations == (
        "sample 0 taken more often than 2 times by the end of step 4 (0 in steps 1, 3, 4)",
    )


def test_an_unfinished_window_is_checked_as_far_as_it_goes() -> None:
    told = audit(started(), ACROSS[:3], order=ReadingOrder(2 * BATCH))
    assert told.proven
    assert told.notes == (
        "steps 3 to 3 end within a window of the data order: each sample was taken 0 to 2 times by then, "
        "which only the window's end evens out",
    )


def test_the_last_window_ends_with_the_run() -> None:
    order = ReadingOrder(2 * BATCH, epochs=1.0)
    assert audit(started(), ACROSS[:2], shuffled([[]] * 2 + [[8, 9, 10, 11]])[2:], order=order).proven
    assert not audit(started(), ACROSS[:3], order=order).proven


def test_of_sources_by_weight_only_unknown_samples_are_refused() -> None:
    weighted = ReadingOrder(weighted=True)
    told = audit(started(), shuffled([[0, 0, 1, 1], [0, 2, 0, 3]]), order=weighted)
    assert told.proven
    assert "sources are mixed by weight: how often each sample is taken was not compared" in told.notes
    (foreign,) = audit(started(), shuffled([[0, 1, 2, 99]]), order=weighted).violations
    assert foreign.startswith("step 1 names sample 99, but an epoch has samples")
