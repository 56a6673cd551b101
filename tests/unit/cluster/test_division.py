"""Shards follow the workers' measured speeds: pretended devices vote with the seconds that they would have needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import events as facts
from runtime.cluster.division import FEWEST, WARM_UP, Division, Pace, speeds_of
from runtime.cluster.messages import Vote
from runtime.cluster.placement import counts_of, deal, finish_time
from runtime.flow import StepOrder
from runtime.ids import Rank, Step
from tests.unit.cluster.world import PLAN, World, vote_on

SHARDS, POSITIONS = 16, 100
SHARD_SECONDS = 0.1
"""Of a device of speed 1."""
Speeds = Callable[[int], Sequence[float]]
"""step -> the devices' speeds"""


class Devices:
    """A world whose workers are pretended devices; `play` runs steps and keeps how long each took."""

    def __init__(self, workers: int, speeds: Speeds, *, noise: float = 0.0, seed: int = 0) -> None:
        plan = replace(PLAN, workers=workers, global_batch_size=64, logical_shards=SHARDS, steps=10**6)
        self.world = World(plan).start(*range(workers))
        self.speeds, self.noise, self.random = speeds, noise, Random(seed)
        self.seconds: list[float] = []

    def vote(self, order: StepOrder, rank: Rank, orders: int = 1) -> Vote:
        """What the device says; `orders` of the same step have cost it time."""
        count = len(order.shards_of(rank))
        seconds = count * SHARD_SECONDS / self.speeds(order.step)[rank]
        seconds *= 1 + self.random.uniform(-self.noise, self.noise)
        return vote_on(order, rank, computed_positions=count * POSITIONS, compute_seconds=seconds * orders)

    def play(self, steps: int) -> Devices:
        """That many more commits."""
        for _ in range(steps):
            order = self.world.order
            votes = [self.vote(order, rank) for rank in order.contributors]
            self.seconds.append(max(vote.compute_seconds for vote in votes))
            for rank, vote in zip(order.contributors, votes, strict=True):
                self.world.say(rank, vote)
        return self

    @property
    def counts(self) -> tuple[int, ...]:
        """How many shards each worker computes in the step under way."""
        return tuple(counts_of(self.world.order.owners).values())

    @property
    def moves(self) -> list[facts.ShardsMoved]:
        """How often the division changed."""
        return self.world.facts(facts.ShardsMoved)


def constant(*speeds: float) -> Speeds:
    return lambda _: speeds


def ideal_seconds(*speeds: float) -> float:
    """Step time when work could be cut as fine as one likes."""
    return SHARDS * SHARD_SECONDS / sum(speeds)


@pytest.mark.parametrize("speeds", [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0, 1.0, 0.25), (1.0, 0.6, 0.3)])
@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (0.1, 1), (0.1, 2), (0.1, 3)])
def test_within_twenty_steps_an_unequal_device_costs_at_most_a_tenth_over_the_harmonic_ideal(
    speeds: tuple[float, ...], noise: float, seed: int
) -> None:
    devices = Devices(len(speeds), constant(*speeds), noise=noise, seed=seed).play(20)
    by_rank = {Rank(rank): value for rank, value in enumerate(speeds)}
    expected = finish_time(devices.world.order.owners, by_rank) * SHARD_SECONDS
    assert expected <= 1.1 * ideal_seconds(*speeds)
    assert len(devices.moves) <= 3


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(2))
def test_noise_moves_no_shard_between_equal_devices(workers: int, seed: int) -> None:
    devices = Devices(workers, constant(*[1.0] * workers), noise=0.1, seed=seed).play(200)
    assert devices.moves == []
    assert devices.counts == tuple(counts_of(deal([Rank(rank) for rank in range(workers)], SHARDS)).values())


def test_one_slow_step_moves_no_shard() -> None:
    devices = Devices(2, lambda step: (1.0, 0.02 if step in (9, 15) else 1.0)).play(40)
    assert devices.moves == []


def test_a_device_that_becomes_slow_gives_shards_away_and_takes_them_back_when_it_recovers() -> None:
    devices = Devices(2, lambda step: (1.0, 0.4 if 20 < step <= 60 else 1.0), noise=0.1).play(20)
    assert devices.counts == (8, 8)
    devices.play(20)
    assert devices.counts[0] - devices.counts[1] >= 5
    devices.play(40)
    assert devices.counts == (8, 8)
    last = devices.moves[-1]
    assert (last.before[0][1] > 8, last.after) == (True, ((0, 8), (1, 8)))


def test_the_fact_says_who_had_how_much_who_has_how_much_and_why() -> None:
    devices = Devices(2, constant(1.0, 0.5)).play(WARM_UP + FEWEST)
    (fact,) = devices.moves
    assert fact == facts.ShardsMoved(
        Step(WARM_UP + FEWEST + 1), ((Rank(0), 8), (Rank(1), 8)), ((Rank(0), 11), (Rank(1), 5)), fact.speeds
    )
    assert fact.speeds[0][1] == pytest.approx(2 * fact.speeds[1][1])


def test_the_slowest_device_keeps_a_shard_so_that_it_is_measured() -> None:
    devices = Devices(2, lambda step: (1.0, 0.001 if step <= 20 else 1.0)).play(20)
    assert devices.counts == (15, 1)
    devices.play(20)
    assert devices.counts == (8, 8)


def test_a_step_in_which_somebody_died_measures_nobody() -> None:
    devices = Devices(3, constant(1.0, 1.0, 1.0)).play(1)
    for _ in range(8):
        devices.world.leave(2)
        order = devices.world.order
        for rank, orders in ((0, 1), (1, 50)):  # whatever that step was like
            devices.world.say(rank, devices.vote(order, Rank(rank), orders))
        devices.world.join(2, holds=devices.world.core.at.step, counters=devices.world.core.at.counters)
        devices.play(1)
    assert devices.moves == []


def test_survivors_of_unequal_speed_are_told_apart_at_once_after_a_death() -> None:
    devices = Devices(3, constant(1.0, 0.5, 1.0)).play(10)
    devices.world.leave(2)
    devices.play(1)
    assert devices.counts == (11, 5)
    assert devices.moves[-1].after == ((0, 11), (1, 5))


def test_a_newcomer_counts_as_usual_until_it_is_measured() -> None:
    devices = Devices(2, constant(1.0, 0.25)).play(10)
    assert devices.counts[1] <= 4
    world = devices.world
    world.leave(1)
    devices.play(1)
    world.join(1, incarnation=2, holds=world.core.at.step + 1, counters=world.core.at.counters)
    devices.play(1)
    assert devices.counts == (8, 8)


def test_with_more_workers_than_shards_the_fast_ones_compute() -> None:
    ranks = [Rank(0), Rank(1), Rank(2)]
    assert deal(ranks, 2, {Rank(0): 1.0, Rank(1): 9.0, Rank(2): 8.0}) == (1, 2)


def test_what_was_not_measured_says_nothing() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(0, 1.0)
        pace.note(5, 0.0)
    assert pace.speed is None
    assert speeds_of({Rank(0): pace}) == {Rank(0): 1.0}


speed = st.floats(0.01, 100.0)


@given(st.lists(speed, min_size=1, max_size=6), st.integers(1, 48))
def test_no_single_move_of_a_shard_would_end_the_step_earlier(speeds: list[float], shards: int) -> None:
    by_rank = {Rank(rank): value for rank, value in enumerate(speeds)}
    owners = deal(list(by_rank), shards, by_rank)
    counts = dict.fromkeys(by_rank, 0) | counts_of(owners)
    least = 1 if shards >= len(by_rank) else 0
    for giver in by_rank:
        for taker in by_rank:
            if giver != taker and counts[giver] > least:
                moved = counts | {giver: counts[giver] - 1, taker: counts[taker] + 1}
                after = [rank for rank, count in moved.items() for _ in range(count)]
                assert finish_time(after, by_rank) >= finish_time(owners, by_rank) * (1 - 1e-9)


def paced(*speeds: float) -> dict[Rank, Pace]:
    """Workers that were measured at exactly these speeds."""
    return {Rank(rank): Pace(deque([value] * FEWEST)) for rank, value in enumerate(speeds)}


@given(st.lists(st.lists(speed, min_size=3, max_size=3), max_size=12), st.integers(3, 32))
def test_a_division_changes_only_when_it_pays_and_the_journal_can_follow_it(
    history: list[list[float]], shards: int
) -> None:
    ranks = [Rank(0), Rank(1), Rank(2)]
    division, told = Division(), counts_of(deal(ranks, shards))
    for step, speeds in enumerate(history, 1):
        by_rank = dict(zip(ranks, speeds, strict=True))
        before = division.owners or deal(ranks, shards)
        for fact in division.follow(paced(*speeds), shards, Step(step)):
            told = dict(fact.after)
        assert counts_of(division.owners) == told
        assert set(division.owners) == set(ranks)
        assert division.owners == before or finish_time(division.owners, by_rank) < finish_time(before, by_rank)
