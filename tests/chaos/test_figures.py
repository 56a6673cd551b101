"""The chaos suite's own arithmetic: scripts, recoveries, ledgers and counts, from journals written by hand."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import replace

import pytest

from runtime.events import (
    ActorExited,
    ActorReady,
    Envelope,
    Event,
    RolledBack,
    RunFinished,
    RunStarted,
    SpareLost,
    SpareReady,
    StepAborted,
    StepCommitted,
    WorkerAdded,
    WorkerJoined,
    WorkerLost,
    WorkerRetired,
)
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from tests.chaos.census import Occupied, census, role_of
from tests.chaos.goodput import relative_distance
from tests.chaos.injector import Injected, middle_of
from tests.chaos.ledger import Audit, audit, history
from tests.chaos.recovery import recoveries, repeated_steps, rolled_back_steps, spread
from tests.chaos.report import Report, by_phase
from tests.chaos.roots import random_moments
from tests.chaos.scene import Scene
from tests.chaos.script import Fault, FaultScript, Kind, random_script
from tests.support.processes import marked

ROOT = ActorPath("run")
FIRST, SECOND = Incarnation(1), Incarnation(2)


def committed(step: int, *owners: int, ids: Sequence[Sequence[int]] | None = None) -> StepCommitted:
    samples = tuple(tuple(shard) for shard in ids) if ids is not None else ((2 * step - 2,), (2 * step - 1,))
    return StepCommitted(
        Step(step),
        Generation(1),
        Cursor(2 * (step - 1)),
        2,
        True,
        1.0,
        10,
        1.0,
        learning_rate=1e-3,
        seconds=1.0,
        owners=tuple(map(Rank, owners or (0, 1))),
        sample_ids=samples,
    )


def started(first_step: int = 1, workers: int = 2) -> RunStarted:
    return RunStarted("tested", workers, Step(first_step), Step(99), 2, "c")


def lost(rank: int, incarnation: int = 1) -> WorkerLost:
    return WorkerLost(Rank(rank), Incarnation(incarnation), "its session ended")


def joined(rank: int, incarnation: int) -> WorkerJoined:
    return WorkerJoined(Rank(rank), Incarnation(incarnation), Step(-1))


def exited(path: str, incarnation: int = 1) -> ActorExited:
    return ActorExited(ActorPath(path), Incarnation(incarnation), "error", "killed by SIGKILL", -9)


def ready(path: str, pid: int, incarnation: int = 1) -> ActorReady:
    return ActorReady(ActorPath(path), Incarnation(incarnation), pid)


def journal(*timed: tuple[float, Event]) -> list[Envelope]:
    return [Envelope(seq, wall, ROOT, event) for seq, (wall, event) in enumerate(timed, 1)]


def in_the_data_order(cursor: Cursor, count: int) -> range:
    return range(cursor, cursor + count)


# ---- scripts


def test_a_script_reads_like_what_happens() -> None:
    script = FaultScript().kill(rank=1, step=7).stop(rank=0, step=9).segfault(rank=0, step=9).kill_coordinator(step=12)
    assert [str(fault) for fault in script.faults] == [
        "kill worker 1 after step 7",
        "stop worker 0 after step 9",
        "segfault worker 0 after step 9",
        "coordinator after step 12",
    ]
    assert [fault.kind.signal for fault in script.faults] == [
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGSEGV,
        signal.SIGKILL,
    ]


def test_a_script_is_written_in_the_order_of_time() -> None:
    with pytest.raises(ValueError, match="kill worker 1 after step 3 is written behind kill worker 0 after step 4"):
        FaultScript().kill(rank=0, step=4).kill(rank=1, step=3)


def test_a_random_script_is_its_seed() -> None:
    kinds = list(Kind)
    first = random_script(3, count=40, workers=3, kinds=kinds)
    assert first == random_script(3, count=40, workers=3, kinds=kinds)
    assert first != random_script(4, count=40, workers=3, kinds=kinds)
    assert {fault.kind for fault in first.faults} == set(Kind)
    assert {fault.rank for fault in first.faults} == {None, 0, 1, 2}


def test_random_moments_of_roots_lie_inside_checkpoints_too() -> None:
    assert random_moments(1, 30) == random_moments(1, 30)
    assert {moment.inside_checkpoint for moment in random_moments(1, 30)} == {True, False}


# ---- the scene


def test_a_run_is_whole_when_everybody_lives_and_takes_part() -> None:
    scene = Scene()
    whole = []
    for envelope in journal(
        (0, ready("run/coordinator", 10)),
        (0, ready("run/node/worker-0", 20)),
        (0, ready("run/node/worker-1", 21)),
        (0, started()),
        (1, committed(1)),
        (2, exited("run/node/worker-1")),
        (2, committed(2, 0, 1)),  # it had voted before it died
        (2, lost(1)),
        (3, committed(3, 0)),
        (4, ready("run/node/worker-1", 31, 2)),
        (5, committed(4, 0)),
        (6, committed(5, 0, 1)),
        (7, exited("run/coordinator")),
        (8, RolledBack(Step(5), Step(2), "everybody died")),
        (9, RunFinished("done", Step(2), 9.0)),
    ):
        scene.take(envelope)
        whole.append(scene.whole)
    assert whole == [False] * 4 + [True] + [False] * 6 + [True] + [False] * 3
    assert scene.process_of(Rank(1)) == (31, 2)
    assert scene.process_of(None) is None
    assert (scene.step, scene.over) == (2, True)


# ---- recoveries


def hit(kind: Kind, wall_seconds: float, rank: int | None = None) -> Injected:
    fault = Fault(kind, Step(1), None if rank is None else Rank(rank))
    return Injected(fault, 21, FIRST, wall_seconds, Step(1))


def test_the_milestones_of_a_killed_worker_are_found_in_order() -> None:
    told = journal(
        (9.9, committed(1)),
        (10.1, committed(2)),  # its vote was in already: no proof of anything
        (10.2, exited("run/node/worker-1")),
        (10.3, lost(1)),
        (10.5, committed(3, 0)),
        (11.0, joined(1, 2)),
        (11.5, committed(4, 0)),
        (12.0, committed(5, 0, 1)),
        (13.0, RunFinished("done", Step(5), 13.0)),
    )
    (one,) = recoveries([hit(Kind.KILL, 10.0, rank=1)], told)
    found = (one.exit_seconds, one.detected_seconds, one.next_commit_seconds, one.whole_seconds, one.last_seconds)
    assert found == pytest.approx((0.2, 0.3, 0.5, 2.0, 3.0))


def test_each_fault_is_answered_for_within_its_own_time() -> None:
    told = journal((11, lost(0)), (12, committed(2, 1)), (21, lost(1)), (22, committed(3, 0)))
    first, second = recoveries([hit(Kind.KILL, 10.0, rank=0), hit(Kind.SEGFAULT, 20.0, rank=1)], told)
    assert (first.next_commit_seconds, first.whole_seconds) == (2.0, None)
    assert (second.detected_seconds, second.next_commit_seconds) == (1.0, 2.0)
    assert (first.exit_seconds, second.exit_seconds) == (None, None)


def test_a_killed_coordinator_is_answered_by_the_next_commit() -> None:
    told = journal((10.5, exited("run/coordinator")), (12.0, committed(2)))
    (one,) = recoveries([hit(Kind.COORDINATOR, 10.0)], told)
    assert (one.detected_seconds, one.next_commit_seconds, one.whole_seconds) == (0.5, 2.0, 2.0)


def test_a_run_that_says_nothing_more_reached_no_milestone() -> None:
    (one,) = recoveries([hit(Kind.KILL, 10.0, rank=0)], [])
    assert (one.detected_seconds, one.whole_seconds, one.last_seconds) == (None, None, 0.0)


def test_steps_taken_back_and_steps_begun_again_are_counted() -> None:
    told = journal((1, RolledBack(Step(9), Step(4), "nobody was left")), (2, StepAborted(Step(5), Generation(2), "x")))
    assert (rolled_back_steps(told), repeated_steps(told)) == (5, 1)


def test_a_spread_is_median_p99_and_worst_of_what_is_there() -> None:
    assert spread([None]) is None
    found = spread([float(number) for number in range(1, 201)] + [None])
    assert found is not None
    assert (found.count, found.median, found.p99, found.worst) == (200, 100.5, 198.0, 200.0)


# ---- the ledger


def test_a_quiet_history_is_exactly_once() -> None:
    told = journal((0, started()), (1, committed(1)), (2, committed(2)))
    assert audit(history(told), in_the_data_order) == Audit(2, 4, 0, 0, 0, 0)


def test_what_was_taken_back_or_done_again_after_a_resumption_counts_once() -> None:
    told = journal(
        (0, started()),
        *((step, committed(step)) for step in (1, 2, 3, 4)),
        (5, RolledBack(Step(4), Step(3), "x")),
        (6, committed(4)),
        (7, started(3)),
        (8, committed(3)),
    )
    found = audit(history(told), in_the_data_order)
    assert found.exactly_once
    assert found.steps == 3


def test_lost_and_doubled_samples_are_found() -> None:
    told = journal(
        (0, started()), (1, committed(1, ids=[[0], [0]])), (2, committed(2, ids=[[2], []])), (3, committed(4))
    )
    found = audit(history(told), in_the_data_order)
    assert found == Audit(3, 6, missing_steps=1, lost=2, doubled=1, misplaced=1)
    assert not found.exactly_once


# ---- counts and the report


def test_the_census_counts_this_very_process() -> None:
    mine = census(marked({"PATH": os.environ["PATH"]}))
    assert mine == {} or mine["root"].processes >= 1
    assert Occupied(1, 2, 3, 4) + Occupied(1, 1, 1, 1) == Occupied(2, 3, 4, 5)


def test_roles_are_read_from_command_lines() -> None:
    assert role_of("python -P -m runtime.app.worker --rank 1") == "workers"
    assert role_of("python -P -m runtime.app.coordinator") == "coordinator"
    assert role_of("python mlx-distributed run x.toml") == "root"


@pytest.mark.parametrize(
    ("rolled_back", "lost_samples", "same_hash", "held"),
    [(0, 0, True, True), (0, 0, None, True), (1, 0, True, False), (0, 1, True, False), (0, 0, False, False)],
)
def test_a_report_holds_only_if_nothing_was_lost(
    rolled_back: int, lost_samples: int, same_hash: bool | None, held: bool
) -> None:
    found = recoveries([hit(Kind.KILL, 10.0, rank=0)], journal((11, lost(0)), (12, committed(2, 1))))
    report = Report(
        found, rolled_back, 1, Audit(2, 4, 0, lost_samples, 0, 0), same_hash, {"root": Occupied(1)}, {}, 5.0
    )
    assert report.held is held
    assert "kill worker 0 after step 1" in str(report)
    assert "survivors' next commit  median 2.000 s" in str(report)


def test_a_report_tells_the_phases_apart_in_the_order_of_a_step() -> None:
    found = []
    for at, phase in ((10.0, "vote"), (20.0, "compute"), (30.0, "idle"), (40.0, "compute")):
        end = replace(exited("run/node/worker-0"), phase=phase)
        facts = journal((at + 0.5, end), (at + 1, lost(0)), (at + 2, committed(2, 1)))
        found += recoveries([hit(Kind.KILL, at, rank=0)], facts)
    lines = by_phase(found)
    assert [line.split(":")[0] for line in lines] == [
        f"in {phase}" for phase in ("compute", "vote", "idle") for _ in "123"
    ]
    assert "next commit" in lines[1]
    assert lines[1].endswith("median 2.000 s, p99 2.000 s, worst 2.000 s (2)")
    assert lines[2].endswith("never")


def test_a_phase_is_aimed_at_by_the_times_of_the_step_before() -> None:
    before = replace(committed(1), seconds=1.0, feed_seconds=0.1, compute_seconds=0.5, exchange_seconds=0.2)
    middles = [middle_of(phase, before) for phase in ("apply", "feed", "compute", "exchange", "vote")]
    assert middles == pytest.approx([0.05, 0.15, 0.45, 0.8, 0.95])


def test_faults_are_aimed_at_each_phase_in_turns() -> None:
    script = random_script(1, count=5, workers=2, phases=("feed", "vote"))
    assert [fault.phase for fault in script.faults] == ["feed", "vote", "feed", "vote", "feed"]
    aimless = random_script(1, count=3, workers=2, kinds=[Kind.COORDINATOR], phases=("feed",))
    assert {fault.phase for fault in aimless.faults} == {""}


def test_spares_are_there_from_their_word_until_they_get_a_rank_or_die() -> None:
    scene = Scene()
    for envelope in journal((1, SpareReady(7)), (2, SpareReady(8)), (3, SpareReady(9))):
        scene.take(envelope)
    assert scene.spares == {7, 8, 9}
    for envelope in journal((4, ready("run/node/worker-0", 7, 2)), (5, SpareLost(8))):
        scene.take(envelope)
    assert scene.spares == {9}


def test_who_has_left_for_good_is_not_waited_for_until_somebody_is_added() -> None:
    scene = Scene()
    told: list[Event] = [ready("run/coordinator", 1), ready("run/node/worker-0", 2), ready("run/node/worker-1", 3)]
    for number, event in enumerate([started(), *told, committed(1, 0, 1), WorkerRetired(Rank(1), FIRST, "no memory")]):
        scene.take(Envelope(number, 0.0, ROOT, event))
    assert (scene.whole, scene.gone) == (True, {1})
    scene.take(Envelope(9, 0.0, ROOT, WorkerAdded(Rank(1), "me")))
    assert not scene.whole
    for event in (ready("run/node/worker-1", 4, 2), committed(2, 0, 1)):
        scene.take(Envelope(10, 0.0, ROOT, event))
    assert scene.whole


def test_losses_are_compared_also_when_everything_is_learnt() -> None:
    assert relative_distance(2.02, 2.0) == pytest.approx(0.01)
    assert relative_distance(0.0, 0.0) == 0.0
    assert relative_distance(1e-9, 0.0) == math.inf
