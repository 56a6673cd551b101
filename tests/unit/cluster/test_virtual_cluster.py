"""The protocol as a whole: real coordinators, sessions and trainers under seeded faults and a virtual clock."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.protocol_mutations import MUTATIONS, Mutation, mutant
from tests.virtual.history import FAULT_KINDS, Fault, History, history_of, parted_history_of, sharded_history_of
from tests.virtual.ledger import Violation
from tests.virtual.run import play

SEEDS = 300
BLOCK, MEASURED = 20, 6
"""Seeds of one test; of the one whose lines are counted, because counting takes as long again."""
MOST_SEEDS_FOR_A_MUTATION = 150
SHARDED_SEEDS = 8
PARTED_SEEDS = 20
SLOW = dict.fromkeys(range(3), (0.05, 0.05, 0.05))
"""Steps that last long enough for a dead worker to come back before the next one dies."""


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(each, marks=pytest.mark.long) for each in range(MEASURED, SEEDS, BLOCK))]
)
def test_no_history_breaks_an_invariant(first: int) -> None:
    failures: dict[int, str] = {}
    struck: Counter[str] = Counter()
    seeds = range(first, min(first + BLOCK, SEEDS)) if first else range(MEASURED)
    for seed in seeds:
        try:
            struck += play(history_of(seed)).struck
        except Violation as broken:
            failures[seed] = str(broken)
    assert failures == {}
    assert sum(struck.values()) > len(seeds)


@pytest.mark.long
def test_no_history_of_a_sharded_run_breaks_an_invariant() -> None:
    assert all(play(sharded_history_of(seed)).commits > 0 for seed in range(SHARDED_SEEDS))


@pytest.mark.long
def test_no_history_of_workers_on_other_machines_than_the_disk_breaks_an_invariant() -> None:
    assert all(play(parted_history_of(seed)).commits > 0 for seed in range(PARTED_SEEDS))


def test_a_sharded_run_that_loses_each_worker_once_rolls_nothing_back() -> None:
    deaths = tuple(Fault("kill worker in phase", rank=rank, phase="feed", step=4 + 5 * rank) for rank in range(3))
    history = History(seed=5, workers=3, shards=6, batch=12, steps=20, slices=6, faults=deaths, speeds=SLOW)
    report = play(history)
    assert (report.outcome, report.commits, report.rollbacks) == ("done", 20, 0)
    assert report.struck["kill worker in phase"] == 3


def test_the_only_copy_of_a_slice_takes_the_run_back() -> None:
    death = Fault("kill worker in phase", rank=1, phase="feed", step=4)
    history = History(seed=5, workers=3, shards=6, batch=12, steps=9, slices=6, replicas=1, faults=(death,))
    report = play(history)
    assert (report.outcome, report.rollbacks) == ("done", 1)


def test_a_device_that_drifts_three_times_is_dismissed_and_the_run_ends_without_it() -> None:
    drifts = tuple(Fault("drift", rank=1, phase="feed", step=step) for step in (2, 6, 10))
    report = play(History(seed=5, workers=3, shards=8, batch=8, steps=16, verify_every=1, faults=drifts))
    assert (report.outcome, report.commits, report.struck["drift"]) == ("done", 16, 3)
    assert sum("WorkerRetired(" in line for line in report.journal) == 1


def test_the_seeds_of_ci_contain_every_kind_of_fault() -> None:
    kinds = {fault.kind for seed in range(SEEDS) for fault in history_of(seed).faults}
    assert kinds == FAULT_KINDS


@pytest.mark.parametrize("seed", [3, 19])
def test_a_seed_is_the_same_run_each_time_to_the_last_fact(seed: int) -> None:
    assert play(history_of(seed)).journal == play(history_of(seed)).journal


def test_a_quiet_history_commits_every_step_once_and_rolls_nothing_back() -> None:
    report = play(History(seed=1, workers=3, shards=4, batch=8, steps=9))
    assert (report.outcome, report.commits, report.rollbacks) == ("done", 9, 0)


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.mistake)
def test_a_deliberate_mistake_in_the_protocol_is_found_by_some_seed(mutation: Mutation) -> None:
    code = mutant(mutation)

    def breaks(seed: int) -> bool:
        try:
            play(mutation.histories(seed), code)
        except Violation:
            return True
        return False

    assert any(breaks(seed) for seed in (mutation.seed, *range(MOST_SEEDS_FOR_A_MUTATION)))


def test_a_violation_shows_the_script_of_its_history_and_the_journal() -> None:
    code = mutant(next(mutation for mutation in MUTATIONS if mutation.mistake == "the cursor is not advanced"))
    with pytest.raises(Violation, match=r"I2 .*(?s:.)*seed 0: .*(?s:.)*StepCommitted"):
        play(history_of(0), code)
