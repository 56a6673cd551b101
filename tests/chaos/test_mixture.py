"""The mixture's own arithmetic: what is drawn, who talks to whom, what followed a blow, what a run achieved."""

from __future__ import annotations

import os

import pytest

from runtime.events import ActorExited, ActorReady, Envelope, Event, RolledBack, RunStarted, StepCommitted, WorkerLost
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from tests.chaos.aftermath import aftermaths, avoidable_rollbacks, uninvited
from tests.chaos.goodput import goodput
from tests.chaos.hand import Struck, Victim
from tests.chaos.links import End, between, ends_of
from tests.chaos.lives import Look, lives, look
from tests.chaos.mixed import possible
from tests.chaos.mixture import Ailment, Blow, mixture
from tests.chaos.scene import COORDINATOR_PATH
from tests.chaos.soak import quarters
from tests.support.processes import PROC, Seen

WORKER = "run/node/worker-{}"


def committed(step: int, *owners: int) -> StepCommitted:
    ranks = tuple(map(Rank, owners or (0, 1)))
    return StepCommitted(
        Step(step), Generation(1), Cursor(2 * step - 2), 2, True, 1 / step, 10, 1.0, 1e-3, 1.0, owners=ranks
    )


def ready(path: str, incarnation: int = 1) -> ActorReady:
    return ActorReady(ActorPath(path), Incarnation(incarnation), 100)


def exited(path: str, incarnation: int = 1) -> ActorExited:
    return ActorExited(ActorPath(path), Incarnation(incarnation), "error", "killed by SIGKILL")


def journal(*timed: tuple[float, Event]) -> list[Envelope]:
    return [Envelope(seq, wall, ActorPath("run"), event) for seq, (wall, event) in enumerate(timed, 1)]


def struck(at: float, *victims: int | None, kind: Ailment = Ailment.KILL, incarnation: int = 1) -> Struck:
    ranks = tuple(Rank(rank) for rank in victims if rank is not None)
    met = tuple(Victim(None if rank is None else Rank(rank), 100, Incarnation(incarnation)) for rank in victims)
    return Struck(Blow(kind, ranks, 1.0, 0.0, False), met, at, at, Step(1))


BEGUN = [
    (0.0, ready(COORDINATOR_PATH)),
    (0.0, ready(WORKER.format(0))),
    (0.0, ready(WORKER.format(1))),
    (0.0, RunStarted("mixed", 2, Step(1), Step(9), 2, "c")),
    (1.0, committed(1)),
]


# ---- what is drawn


def test_a_mixture_is_its_seed_and_holds_every_kind() -> None:
    drawn = mixture(1, faults=60, every=15, workers=3, kinds=list(Ailment))
    assert drawn == mixture(1, faults=60, every=15, workers=3, kinds=list(Ailment))
    assert drawn != mixture(2, faults=60, every=15, workers=3, kinds=list(Ailment))
    assert {blow.kind for blow in drawn} == set(Ailment)
    assert {blow.once_whole for blow in drawn} == {True, False}
    assert all(7.5 <= blow.gap_seconds <= 22.5 for blow in drawn)
    assert all(len(set(blow.ranks)) == blow.kind.victims for blow in drawn)


def test_two_of_one_worker_are_that_one() -> None:
    (blow,) = mixture(1, faults=1, every=1, workers=1, kinds=[Ailment.KILL_TWO])
    assert blow.ranks == (0,)


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one kind"):
        mixture(1, faults=1, every=1, workers=1, kinds=[])


def test_a_blow_says_whom_and_for_how_long() -> None:
    assert str(Blow(Ailment.FLAP, (Rank(0), Rank(2)), 1, 2.5, True)) == "flapping link: worker 0 and worker 2 for 2.5 s"
    assert str(Blow(Ailment.COORDINATOR, (), 1, 0.0, True)) == "kill the coordinator"


def test_what_takes_two_workers_is_left_out_with_one() -> None:
    kinds, left_out = possible([Ailment.KILL, Ailment.KILL_TWO, Ailment.COORDINATOR], workers=1)
    assert kinds == [Ailment.KILL, Ailment.COORDINATOR]
    assert left_out == {"kill_two": "it takes two workers"}


# ---- who talks to whom

TCP = 'ESTAB 0      0      127.0.0.1:4001   127.0.0.1:5001  users:(("python",pid=7,fd=9))'
BACK = 'ESTAB 0      0      127.0.0.1:5001   127.0.0.1:4001  users:(("python",pid=8,fd=3))'
BOTH = 'tcp   ESTAB 0      0      127.0.0.1:4001   127.0.0.1:5001  users:(("python",pid=7,fd=9))'
LOCAL = 'u_str ESTAB 0      0      @mlxd 11                * 12 users:(("python",pid=7,fd=10),("python",pid=6,fd=4))'


def test_a_line_of_ss_is_read_with_and_without_the_network() -> None:
    end = End(7, 9, "127.0.0.1:4001", "127.0.0.1:5001")
    assert ends_of(TCP) == ends_of(BOTH) == [end]
    assert ends_of(LOCAL) == [End(7, 10, "11", "12"), End(6, 4, "11", "12")]
    assert ends_of("u_dgr UNCONN 0 0 * 1 * 0") == []


def test_only_connections_between_the_two_are_found() -> None:
    ends = [*ends_of(TCP), *ends_of(BACK), *ends_of(LOCAL)]
    assert between(7, 8, ends) == [End(7, 9, "127.0.0.1:4001", "127.0.0.1:5001")]
    assert between(7, 6, ends) == []


# ---- what followed


def test_a_death_is_followed_to_the_first_commit_with_everybody() -> None:
    path = WORKER.format(1)
    facts = journal(
        *BEGUN,
        (2.1, exited(path)),
        (2.2, committed(2)),
        (2.3, WorkerLost(Rank(1), Incarnation(1), "gone")),
        (2.5, committed(3, 0)),
        (3.0, ready(path, 2)),
        (3.5, committed(4, 0)),
        (4.0, committed(5, 0, 1)),
    )
    (after,) = aftermaths([struck(2.0, 1)], facts)
    assert after.deaths == 1
    assert (after.exit_seconds, after.next_commit_seconds, after.whole_seconds) == pytest.approx((0.1, 0.5, 2.0))
    assert uninvited([struck(2.0, 1)], facts) == []


def test_whom_a_blow_leaves_alive_counts_from_the_blow() -> None:
    (after,) = aftermaths([struck(1.5, 1, kind=Ailment.PAUSE)], journal(*BEGUN, (2.0, committed(2))))
    assert (after.deaths, after.exit_seconds, after.next_commit_seconds, after.whole_seconds) == (0, None, 0.5, 0.5)


def test_a_death_belongs_to_the_last_blow_that_met_the_process() -> None:
    facts = journal(*BEGUN, (3.1, exited(WORKER.format(1))))
    first, second = aftermaths([struck(2.0, 1, kind=Ailment.PAUSE), struck(3.0, 1)], facts)
    assert (first.deaths, second.deaths, second.next_commit_seconds) == (0, 1, None)


def test_the_coordinator_is_lost_when_its_exit_is_seen() -> None:
    facts = journal(*BEGUN, (2.1, exited(COORDINATOR_PATH)), (2.2, ready(COORDINATOR_PATH, 2)), (2.4, committed(2)))
    (after,) = aftermaths([struck(2.0, None, kind=Ailment.COORDINATOR)], facts)
    assert (after.next_commit_seconds, after.whole_seconds) == pytest.approx((0.4, 0.4))


def test_an_end_that_no_blow_explains_is_found() -> None:
    facts = journal(*BEGUN, (2.1, exited(WORKER.format(0))), (2.2, exited("run/node/worker-0/trainer")))
    assert [end.path for end in uninvited([struck(2.0, 1)], facts)] == [WORKER.format(0)]


def test_going_back_is_right_only_when_nobody_holds_the_state() -> None:
    back = RolledBack(Step(7), Step(5), "why")
    lone = [(2.0, exited(WORKER.format(0)))]
    both = [*lone, (2.1, exited(WORKER.format(1)))]
    assert avoidable_rollbacks(journal(*BEGUN, *lone, (3.0, back))) == 2
    assert avoidable_rollbacks(journal(*BEGUN, *both, (3.0, back))) == 0
    assert (
        avoidable_rollbacks(journal(*BEGUN, (2.0, RunStarted("mixed", 2, Step(1), Step(9), 2, "c")), (3.0, back))) == 0
    )


# ---- what was achieved


def test_goodput_counts_what_stays_and_all_the_time() -> None:
    facts = journal(
        *BEGUN,
        (2.0, committed(2)),
        (3.0, committed(3)),
        (3.5, RolledBack(Step(3), Step(1), "why")),
        (5.0, committed(2)),
    )
    done = goodput(facts)
    assert (done.samples, done.seconds, done.steps, done.final_loss) == (2, 4.0, 2, 0.5)
    assert done.samples_per_second == 0.5
    assert goodput(facts, until_wall_seconds=9.0).samples_per_second == 0.25
    assert goodput(journal(*BEGUN)).samples_per_second == 0


def test_a_run_without_a_commit_has_no_goodput() -> None:
    with pytest.raises(ValueError, match="nothing was committed"):
        goodput([])


# ---- what lasts


def looked(wall: float, pid: int, mib: float, role: str = "root") -> Look:
    return Look(wall, pid, role, int(mib * 1024), 30, 4)


def test_the_slope_of_a_life_leaves_out_its_warm_up() -> None:
    growing = [looked(600.0 * n, 7, 50 + n * 2 + (100 if n == 0 else 0)) for n in range(13)]
    short = [looked(0.0, 8, 10), looked(60.0, 8, 10)]
    long, brief = lives([*growing, *short], at_least_seconds=0)
    assert long.mib_per_hour == pytest.approx(12.0)
    assert (long.pid, long.seconds, brief.mib_per_hour) == (7, 7200.0, None)
    assert "150 -> 74 MiB (+12.0 MiB/h)" in str(long)
    assert lives([*growing, *short], at_least_seconds=3600) == [long]


def test_this_process_can_be_looked_at_and_a_dead_one_cannot() -> None:
    alive = Seen(os.getpid(), 1, "python -m runtime.app.coordinator")
    gone = Seen(2**22 + 1, 1, "python")
    (found,) = look([alive, gone], 5.0) if PROC.is_dir() else [looked(5.0, os.getpid(), 1, "coordinator")]
    assert (found.pid, found.role, found.wall_seconds) == (os.getpid(), "coordinator", 5.0)
    assert found.resident_kib > 0


def test_step_times_are_told_by_quarter_of_an_hour() -> None:
    facts = journal((0.0, committed(1)), (10.0, committed(2)), (899.0, committed(3)), (2000.0, committed(4)))
    assert [steps for steps, _ in quarters(facts)] == [3, 1]
