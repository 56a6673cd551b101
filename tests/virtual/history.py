"""What will happen to a virtual cluster, as data: a pure function of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

from runtime.cluster.plan import RunPlan
from runtime.rpc.faults import FaultRates

PHASES = ("feed", "compute", "exchange", "vote", "apply", "restore", "evaluate", "idle")
FAULT_KINDS = frozenset({
    "kill worker", "kill worker in phase", "kill coordinator", "kill coordinator at commit", "sever session",
    "sever in phase", "flap link", "cut link", "isolate", "replace isolated", "hang", "drift",
    "cut for good",
})  # fmt: skip
SAMPLES_IN_EPOCH = 1000
FAULTS_END_SECONDS = 12.0
"""No fault begins later; what was cut is mended soon after."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. `at` is a time in seconds, or -1 when `phase` and `step` say when."""

    kind: str
    at: float = -1.0
    rank: int = -1
    other: int = -1
    seconds: float = 0.0
    phase: str = ""
    step: int = 0


@dataclass(frozen=True)
class History:
    """A cluster and everything that will befall it."""

    seed: int
    workers: int
    shards: int
    batch: int
    steps: int
    min_workers: int = 1
    checkpoint_every: int = 0
    evaluate_every: int = 0
    deterministic: bool = False
    poison: frozenset[int] = frozenset()
    """Samples whose gradient is not finite."""
    failing_writes: frozenset[int] = frozenset()
    """Numbers of the checkpoint writes that end in an error, from 1."""
    shares_of_a_state: int = 1
    """Into how many files a checkpoint is cut, if it has so many writers."""
    late: Mapping[int, float] = field(default_factory=dict)
    """Ranks beyond `workers` that are added to the live run, and when."""
    rates: FaultRates = field(default_factory=FaultRates)
    faults: tuple[Fault, ...] = ()
    stop_at: float = -1.0
    verify_every: int = 0
    slices: int = 0
    """> 0: the optimizer is sharded, in so many slices."""
    replicas: int = 2
    speeds: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Speeds of the ranks that are not usual: of each third of the run's steps."""
    near: int = 1 << 30
    """Ranks from this one on are on another machine than the disk."""

    def speed(self, rank: int, step: int) -> float:
        """How fast the device of `rank` computes `step`; the usual is 1."""
        return self.speeds[rank][min(2, 3 * step // (self.steps + 1))] if rank in self.speeds else 1.0

    @property
    def plan(self) -> RunPlan:
        """The coordinator's plan of this run."""
        return RunPlan(
            workers=self.workers,
            global_batch_size=self.batch,
            logical_shards=self.shards,
            steps=self.steps,
            epochs=1.0,
            min_workers=self.min_workers,
            wait_seconds=3600.0,
            checkpoint_every=self.checkpoint_every,
            evaluate=self.evaluate_every > 0,
            evaluate_every=self.evaluate_every,
            answers=2,
            verify_every=self.verify_every,
            slices=self.slices,
            replicas=self.replicas,
        )

    def script(self) -> str:
        """The history in words, one fault a line: enough to read a failure."""
        head = (
            f"seed {self.seed}: {self.workers} workers (min {self.min_workers}), {self.steps} steps of {self.batch} "
            f"in {self.shards} shards, checkpoint every {self.checkpoint_every}, evaluate every {self.evaluate_every}, "
            f"{'deterministic' if self.deterministic else 'sums by rank'}, poison {sorted(self.poison)}, "
            f"failing writes {sorted(self.failing_writes)}, shares of a state {self.shares_of_a_state}, "
            f"late {dict(self.late)}, stop at {self.stop_at}, verify every {self.verify_every}, "
            f"speeds {dict(self.speeds)}, {self.slices} slices in {self.replicas} copies, "
            f"away from rank {self.near} on"
        )
        return "\n".join([head, f"  rates {self.rates}", *(f"  {fault}" for fault in self.faults)])


def history_of(seed: int) -> History:
    """The history of a seed. Small clusters and short runs: bugs of a protocol need few members and many seeds."""
    random = Random(seed)
    workers = random.choice((1, 2, 2, 3, 3, 3, 4, 5))
    batch = random.choice((4, 8, 12))
    steps = random.randint(6, 14)
    late = {workers: random.uniform(0, 5)} if random.random() < 0.2 else {}
    faults = [_fault(random, workers + len(late), steps) for _ in range(random.choice((0, 1, 1, 2, 3, 4, 6, 9)))]
    if random.random() < 0.15:
        faults += _lost_vote(random, workers, steps)
    samples = batch * steps
    history = History(
        seed=seed,
        workers=workers,
        shards=random.choice((2, 4, 8, 16)),
        batch=batch,
        steps=steps,
        min_workers=random.choice((1, 1, 1, min(2, workers), workers)),
        checkpoint_every=random.choice((0, 2, 3, 5)),
        evaluate_every=random.choice((0, 0, 3, 4)),
        deterministic=random.random() < 0.3,
        poison=frozenset({random.randrange(samples), random.randrange(samples)} if random.random() < 0.3 else ()),
        failing_writes=frozenset({random.randint(1, 4)} if random.random() < 0.15 else ()),
        shares_of_a_state=1 + seed % 7 % 3,
        late=late,
        rates=_rates(random),
        faults=tuple(faults),
        stop_at=random.uniform(0, 6) if random.random() < 0.08 else -1.0,
    )
    return _with_devices(history, Random(1_200_036 + seed))


def sharded_history_of(seed: int) -> History:
    """The same with a sharded optimizer. Nothing drifts: of the only copy of a slice nobody could tell."""
    history, random = history_of(seed), Random(2_400_072 + seed)
    faults = tuple(fault for fault in history.faults if fault.kind != "drift")
    return replace(history, slices=random.choice((4, 6, 10)), replicas=random.choice((1, 2, 2, 2, 3)), faults=faults)


def parted_history_of(seed: int) -> History:
    """The same with some of the workers, and those that are added, on other machines."""
    history = history_of(seed)
    return replace(history, near=Random(2_600_072 + seed).randint(1, history.workers))


def _with_devices(history: History, random: Random) -> History:
    """Devices are what they are: some slow for a while, and one that computes on what is not the others' state."""
    if random.random() < 0.15:
        ranks = range(history.workers)
        speeds = dict.fromkeys(ranks, (1.0, 1.0, 1.0))
        speeds[random.choice(ranks)] = random.choice(((0.5,) * 3, (0.1,) * 3, (1.0, 0.3, 1.0), (1.0, 1.0, 0.25)))
        history = replace(history, speeds=speeds)
    if random.random() < 0.12:
        return _drifting(history, random)
    history = replace(history, verify_every=random.choice((0, 1, 3)))
    if random.random() < 0.06 and history.min_workers < history.workers:  # one of two that are cut off can be spared
        rank, other = random.sample(range(history.workers), 2)
        history = replace(history, faults=(*history.faults, Fault("cut for good", random.uniform(0, 3), rank, other)))
    return history


def _drifting(history: History, random: Random) -> History:
    """One device drifts; replicas are compared in every step, so that no gradient of its may ever be committed.

    Whoever is alone with it cannot know: so it always has company, and at most one other worker dies."""
    workers, step = random.choice((2, 3, 3, 4)), random.randint(1, history.steps)
    faults = [Fault("drift", rank=random.randrange(workers), phase="feed", step=step)]
    more = [_fault(random, workers, history.steps) for _ in range(6)]
    harmless = [fault for fault in more if fault.kind.startswith("kill coordinator")]
    deadly = [fault for fault in more if fault.kind in ("kill worker", "kill worker in phase", "sever session")]
    return replace(
        history, workers=workers, shards=max(history.shards, 4), late={}, verify_every=1, rates=FaultRates(),
        min_workers=min(history.min_workers, workers), faults=(*faults, *harmless[:1], *deadly[: workers > 2]),
    )  # fmt: skip


def _rates(random: Random) -> FaultRates:
    kind = random.random()
    if kind < 0.4:
        return FaultRates()
    if kind < 0.7:
        return FaultRates(delay=0.3, delay_seconds=random.choice((0.02, 0.2)))
    bad = random.choice((0.002, 0.01))
    return FaultRates(
        lose_request=bad, lose_response=bad, break_in_flight=bad, blackhole=bad / 4, duplicate=bad, reorder=bad,
        delay=0.2, delay_seconds=0.1,
    )  # fmt: skip


def _fault(random: Random, workers: int, steps: int) -> Fault:
    rank, at, step = random.randrange(workers), random.uniform(0, 6), random.randint(1, steps)
    other, seconds = random.randrange(workers), random.choice((0.05, 0.5, 2.0, 5.0))
    kind = random.random()
    if kind < 0.18:
        return Fault("kill worker", at, rank)
    if kind < 0.42:
        return Fault("kill worker in phase", rank=rank, phase=random.choice(PHASES), step=step)
    if kind < 0.52:
        return Fault("kill coordinator", at)
    if kind < 0.64:
        return Fault("kill coordinator at commit", step=step)
    if kind < 0.69:
        return Fault("sever session", at, rank)
    if kind < 0.72:
        return Fault("sever in phase", rank=rank, phase=random.choice(PHASES), step=step)
    if kind < 0.78:
        return Fault("flap link", at, rank, other)
    if kind < 0.82:
        return Fault("cut link", at, rank, other, seconds)
    if kind < 0.88:
        return Fault("isolate", at, rank, seconds=seconds * 5)
    if kind < 0.92:
        return Fault("replace isolated", at, rank, seconds=random.choice((1.5, 3.0, 16.0)))
    return Fault("hang", rank=rank, phase=random.choice(("feed", "compute", "apply")), step=step)


def _lost_vote(random: Random, workers: int, steps: int) -> list[Fault]:
    """A vote is lost on its way, the others sum the step anew, and nobody hears of its commit: who holds what?"""
    rank, step = random.randrange(workers), random.randint(1, steps)
    return [
        Fault("sever in phase", rank=rank, phase="vote", step=step),
        Fault("kill coordinator at commit", step=step),
    ]
