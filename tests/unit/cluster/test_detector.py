"""Who is hung: told from beats and time alone."""

from __future__ import annotations

from runtime.cluster.detector import LAG_SECONDS, PATIENCE, TOGETHER, HangDetector, Hung
from runtime.ids import Incarnation, Rank

ZERO, ONE = Rank(0), Incarnation(1)


def watched(*, until: float, phase: str, beats: bool = True, start: float = 0.0) -> list[Hung]:
    """A worker that stays in one phase of one step; judged each second. Limit: 10 s."""
    detector = HangDetector(factor=10.0, floor_seconds=10.0)
    detector.beat(ZERO, ONE, 1, phase, start)
    found: list[Hung] = []
    now = start
    while now < until:
        now += 1.0
        if beats:
            detector.beat(ZERO, ONE, 1, phase, now)
        found += detector.judge(now)
    return found


def test_a_worker_that_does_not_beat_is_hung_in_any_phase() -> None:
    (hung,) = watched(until=12, phase="exchange", beats=False)
    assert (hung.rank, hung.incarnation, hung.phase, hung.quiet_seconds, hung.limit_seconds) == (
        0,
        1,
        "exchange",
        11,
        10,
    )


def test_a_worker_that_beats_but_stays_in_its_own_work_is_hung_on_its_device() -> None:
    detector = HangDetector(10.0, 10.0)
    detector.beat(ZERO, ONE, 1, "compute", 0.0)
    found = []
    for second in range(1, 14):
        detector.beat(ZERO, ONE, 2, "compute", float(second))
        found += detector.judge(float(second))
    assert [(hung.phase, hung.quiet_seconds, hung.limit_seconds) for hung in found] == [("compute", 11.0, 10.0)]


def stuck(*phases: str, until: int) -> list[tuple[Rank, float]]:
    """Worker k stays in phases[k] of its second step, and beats; (rank, limit) of whoever was found. Limit: 10 s."""
    detector = HangDetector(10.0, 10.0)
    for rank in range(len(phases)):
        detector.beat(Rank(rank), ONE, 1, "compute", 0.0)
    found = []
    for second in range(1, until + 1):
        for rank, phase in enumerate(phases):
            detector.beat(Rank(rank), ONE, 2, phase, float(second))
        found += detector.judge(float(second))
    return [(hung.rank, hung.limit_seconds) for hung in found]


def test_where_all_stay_in_their_own_work_they_are_slow_together_and_have_longer() -> None:
    last = int(10 * TOGETHER) + 1
    assert stuck("compute", "compute", "feed", until=last) == []
    assert stuck("compute", "compute", "feed", until=last + 1) == [(rank, 10 * TOGETHER) for rank in range(3)]


def test_one_that_others_wait_for_is_hung_and_so_is_one_beside_whom_others_load() -> None:
    assert stuck("compute", "exchange", "exchange", until=12) == [(0, 10.0)]
    assert stuck("compute", "load", until=12) == [(0, 10.0)]


def test_several_that_do_not_beat_are_hung_all_the_same() -> None:
    detector = HangDetector(10.0, 10.0)
    for rank in range(2):
        detector.beat(Rank(rank), ONE, 1, "compute", 0.0)
    assert [hung.rank for second in range(1, 12) for hung in detector.judge(float(second))] == [0, 1]


def test_the_first_step_of_each_incarnation_may_take_long_but_not_in_silence() -> None:
    detector = HangDetector(10.0, 10.0)
    for incarnation in (ONE, Incarnation(2)):
        began = 1000.0 * incarnation
        detector.judge(began)
        for second in range(int(10 * PATIENCE) + 1):
            detector.beat(ZERO, incarnation, 7, "feed" if second == 0 else "compute", began + second)
            assert detector.judge(began + second) == []
        (hung,) = detector.judge(began + 10 * PATIENCE + 2)
        assert (hung.quiet_seconds, hung.limit_seconds) == (10 * PATIENCE + 1, 10 * PATIENCE)
    detector.judge(5000.0)
    detector.beat(ZERO, Incarnation(3), 7, "compute", 5000.0)
    assert [hung for now in (5004.0, 5008.0) for hung in detector.judge(now)] == []
    assert [hung.quiet_seconds for hung in detector.judge(5011.0)] == [11.0]


def test_a_worker_that_waits_for_others_is_never_accused() -> None:
    assert watched(until=1000, phase="vote") == []


def test_a_long_phase_is_judged_patiently() -> None:
    assert watched(until=10 * PATIENCE, phase="load", beats=False) == []
    assert [hung.phase for hung in watched(until=10 * PATIENCE + 1, phase="load", beats=False)] == ["load"]


def test_an_accused_incarnation_is_accused_once() -> None:
    assert len(watched(until=100, phase="idle", beats=False)) == 1


def test_progress_is_a_new_start() -> None:
    detector = HangDetector(10.0, 10.0)
    for second in range(100):
        detector.beat(ZERO, ONE, second // 5, "compute", float(second))
        assert detector.judge(float(second)) == []


def test_a_new_incarnation_is_not_judged_by_the_old_ones_silence() -> None:
    detector = HangDetector(10.0, 10.0)
    detector.beat(ZERO, ONE, 1, "compute", 0.0)
    detector.judge(4.0)
    detector.beat(ZERO, Incarnation(2), 1, "compute", 9.0)
    detector.judge(8.0)
    assert detector.judge(12.0) == []


def test_who_left_is_forgotten_but_not_its_successor() -> None:
    detector = HangDetector(10.0, 1.0)
    detector.beat(ZERO, Incarnation(2), 1, "compute", 0.0)
    detector.forget(ZERO, ONE)
    detector.forget(Rank(5), ONE)
    detector.judge(0.0)
    assert len(detector.judge(2.0)) == 1
    detector.beat(ZERO, Incarnation(3), 1, "compute", 2.0)
    detector.forget(ZERO, Incarnation(3))
    assert detector.judge(5.0) == []


def test_where_a_worker_was_is_known_after_its_end_but_not_of_another_incarnation() -> None:
    detector = HangDetector(10.0, 1.0)
    assert detector.place_of(ZERO, ONE) == (0, "")
    detector.beat(ZERO, ONE, 7, "exchange", 0.0)
    detector.forget(ZERO, ONE)
    assert detector.place_of(ZERO, ONE) == (7, "exchange")
    assert detector.place_of(ZERO, Incarnation(2)) == (0, "")


def test_a_judge_that_was_away_gives_everybody_a_new_start() -> None:
    detector = HangDetector(10.0, 1.0)
    detector.beat(ZERO, ONE, 1, "compute", 0.0)
    detector.judge(0.0)
    assert detector.judge(LAG_SECONDS + 1) == []
    assert detector.judge(LAG_SECONDS + 1.5) == []
    assert len(detector.judge(LAG_SECONDS + 2.5)) == 1


def test_the_limit_follows_the_usual_step_time_above_its_floor() -> None:
    detector = HangDetector(factor=10.0, floor_seconds=5.0)
    assert detector.limit_seconds == 5.0
    detector.learn(1.0)
    assert detector.limit_seconds == 10.0
    detector.learn(2.0)
    assert detector.limit_seconds == 12.0
