"""The votes on one step, and what they add up to.

Pure; sums are taken in shard order, so that the number of workers does not show. Every stage of a pipeline votes: the
last one knows the losses, and each has the squares of its own part of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.cluster import explosion
from runtime.cluster.grid import Grid
from runtime.cluster.loss_scale import LossScale
from runtime.cluster.messages import ShardTally, Verdict, Vote
from runtime.cluster.signals import GENERATION, Position
from runtime.events import StepCommitted
from runtime.flow import CommittedStep, StepOrder
from runtime.ids import Cursor, Rank, ShardId, Step

RateOf = Callable[[int, int], float]
"""(update number from 1, last step of the run) -> learning rate."""


@dataclass(frozen=True)
class Count:
    """A decided ballot: everything that the verdict and the ledger need."""

    loss_sum: float
    tokens: int
    finite: bool
    grad_norm: float
    """Norm of the mean gradient per token."""
    tallies: tuple[ShardTally, ...]
    """One for each logical shard, ascending."""
    compute_seconds: float
    exchange_seconds: float
    feed_seconds: float
    apply_seconds: float
    useful_tokens: int
    computed_positions: int
    parameter_hashes: tuple[tuple[Rank, str], ...]

    @property
    def loss(self) -> float:
        """Mean over the trained tokens; 0 without any."""
        return self.loss_sum / self.tokens if self.tokens else 0.0


@dataclass
class Ballot:
    """Votes on `order`; only the contributors of its generation have one."""

    order: StepOrder
    repeated: bool = False
    """Whether somebody left during the step: what was measured in it says little."""
    grid: Grid = field(default_factory=Grid)
    votes: dict[Rank, Vote] = field(default_factory=dict)

    def cast(self, rank: Rank, vote: Vote) -> bool:
        """Take a vote; False when it is of another generation or step, not a contributor's, or a repetition."""
        expected = (self.order.generation, self.order.step)
        if (vote.generation, vote.step) != expected or rank not in self.contributors or rank in self.votes:
            return False
        if {tally.shard for tally in vote.tallies} != set(self.grid.view(self.order, rank).shards_of(rank)):
            return False
        self.votes[rank] = vote
        return True

    @property
    def contributors(self) -> tuple[Rank, ...]:
        """Everybody whose vote is needed, ascending."""
        return self.grid.contributors(self.order)

    @property
    def complete(self) -> bool:
        """Whether every contributor has voted: the step may commit."""
        return set(self.votes) == set(self.contributors)

    @property
    def hashes(self) -> dict[Rank, str]:
        """What each voter computed from, where that was asked."""
        return {rank: vote.parameter_hash for rank, vote in self.votes.items() if vote.parameter_hash}

    def count(self) -> Count:
        """Add the votes up. Call it on a complete ballot only."""
        votes = [self.votes[rank] for rank in sorted(self.votes)]
        speakers = [vote for rank, vote in sorted(self.votes.items()) if self.grid.is_last(rank)]
        by_shard: dict[ShardId, ShardTally] = {tally.shard: tally for vote in speakers for tally in vote.tallies}
        tallies = tuple(by_shard[shard] for shard in sorted(by_shard))
        tokens = sum(tally.tokens for tally in tallies)
        group = [self.votes[rank] for rank in self.grid.group_of(min(self.votes))]
        speaking = [vote for vote in votes if vote.is_part] or group
        square_sum = math.fsum(vote.grad_square_sum for vote in speaking)
        return Count(
            loss_sum=math.fsum(tally.loss_sum for tally in tallies),
            tokens=tokens,
            finite=all(vote.finite for vote in votes) and math.isfinite(square_sum),
            grad_norm=math.sqrt(max(square_sum, 0.0)) / tokens if tokens else 0.0,
            tallies=tallies,
            compute_seconds=max(vote.compute_seconds for vote in votes),
            exchange_seconds=max(vote.exchange_seconds for vote in votes),
            feed_seconds=max(vote.feed_seconds for vote in votes),
            apply_seconds=max(vote.apply_seconds for vote in votes),
            useful_tokens=sum(vote.useful_tokens for vote in speakers),
            computed_positions=sum(vote.computed_positions for vote in speakers),
            parameter_hashes=tuple((rank, self.votes[rank].parameter_hash) for rank in sorted(self.votes)),
        )


def advance(
    at: Position, ballot: Ballot, count: Count, rate_of: RateOf, last: Step, zscore: float = 0.0,
    loss_scale: LossScale | None = None,
) -> Position:  # fmt: skip
    """The position after a complete ballot: cursor, counters and the verdict that every member applies."""
    order = ballot.order
    applied = count.finite and count.tokens > 0
    counters = dict(at.counters)
    for name, more in (("applied", applied), ("skipped", not applied), ("tokens", count.tokens)):
        counters[name] = counters.get(name, 0) + more
    counters[GENERATION] = order.generation
    update = int(counters["applied"])
    clip = explosion.clip_of(at.counters, count.grad_norm, zscore)
    committed = CommittedStep(order.step, applied, count.tokens, count.loss_sum, count.grad_norm, clip.norm)
    rate = rate_at(at, max(update, 1), rate_of, last)
    excused = is_search(count, at.counters, loss_scale)
    counters = explosion.after_step(
        counters, step=order.step, applied=applied, loss=count.loss, norm=count.grad_norm, zscore=zscore,
        excused=excused,
    )  # fmt: skip
    if loss_scale is not None:
        counters = loss_scale.follow(counters, finite=count.finite, applied=applied)
    return Position(order.step, Cursor(order.cursor + order.samples), counters, Verdict(committed, rate, update))


def rate_at(at: Position, update: int, rate_of: RateOf, last: Step) -> float:
    """The learning rate of an update that follows the position, which may have gone back to it."""
    return rate_of(update, last) * explosion.rate_factor(at.counters, update)


def is_search(count: Count, counters: Mapping[str, float], loss_scale: LossScale | None) -> bool:
    """Whether the gradient is not finite only because float16's loss scale is still being looked for."""
    return not count.finite and loss_scale is not None and loss_scale.explains(counters, count.loss)


def committed_fact(ballot: Ballot, count: Count, at: Position, seconds: float) -> StepCommitted:
    """The ledger's line for a step that was just committed; `at` is the position after it."""
    order, verdict = ballot.order, at.verdict
    return StepCommitted(
        step=order.step,
        generation=order.generation,
        cursor=order.cursor,
        samples=order.samples,
        applied=verdict is not None and verdict.committed.applied,
        loss=count.loss,
        tokens=count.tokens,
        grad_norm=count.grad_norm,
        learning_rate=verdict.learning_rate if verdict is not None else 0.0,
        seconds=seconds,
        compute_seconds=count.compute_seconds,
        exchange_seconds=count.exchange_seconds,
        feed_seconds=count.feed_seconds,
        apply_seconds=count.apply_seconds,
        useful_tokens=count.useful_tokens,
        computed_positions=count.computed_positions,
        owners=order.owners,
        sample_ids=tuple(tally.sample_ids for tally in count.tallies),
        parameter_hash=next((digest for _, digest in count.parameter_hashes if digest), ""),
    )
