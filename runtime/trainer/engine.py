"""What a trainer needs of its device, its data, its peers and its disk: four small seams.

The real ones are `replica.Replica`, `data.feeder`, `collectives.peer` and `checkpoint.writer`; the virtual cluster of
the tests puts numbers in their place and runs the same `trainer.Trainer` under a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from runtime.checkpoint.shares import Share, StateSizes
from runtime.cluster.messages import Evaluated, EvaluateWork, Heal, Member, Order, Restore, Seal, ShardTally, Verdict
from runtime.cluster.slices import Portion
from runtime.flow import Array, Batch, Node, Snapshot, StepOrder
from runtime.ids import Cursor, Generation, Rank, ShardId, Step


@dataclass
class Local:
    """This worker's part of one step: which shards are done, and what they added up to.

    It survives a change of generation: a death costs the survivors the dead worker's shards, never their own again.
    """

    step: Step
    tallies: dict[ShardId, ShardTally] = field(default_factory=dict)
    generation: Generation = Generation(0)
    """Of the order that it is computed for, where the stages of a pipeline compute it together."""
    gradients: Any = None
    """The engine's own form of the summed gradients of these shards."""
    alone: bool = False
    """Whether these are all shards of the step: nobody else's part will be added."""
    learning_rate: float = 0.0
    update: int = 0
    """What the verdict is expected to say; update 0: nothing is."""
    square_sum: Any = None
    """The engine's own form of the sum of squares of `gradients`, if it was computed with them."""
    ahead: Any = None
    """The engine's own form of the state after this step, if that was begun with them."""
    begun: Any = None
    """The engine's own form of gradients that were begun before the step was ordered."""
    following: Batch | None = None
    """What the next step will be of, if that lies ready: it may be begun as soon as this step's work is dispatched."""
    next: Local | None = None
    """The step after this one, if it was begun with `following`."""
    useful_tokens: int = 0
    computed_positions: int = 0
    compute_seconds: float = 0.0
    feed_seconds: float = 0.0
    apply_seconds: float = 0.0
    """Of the update of the step before, which this step's order brought."""


@dataclass(frozen=True)
class Measured:
    """A summed gradient, looked at before anybody votes on it."""

    finite: bool
    square_sum: float


class Engine(Protocol):
    """A model on a device. Every method returns when the device is done; none can be interrupted."""

    @property
    def holds(self) -> int:
        """Step whose state it holds; -1: none."""
        ...

    @property
    def cursor(self) -> Cursor:
        """Samples consumed by that state."""
        ...

    @property
    def counters(self) -> Mapping[str, float]:
        """The coordinator's counters, as of that state."""
        ...

    @property
    def slices(self) -> tuple[int, ...]:
        """Slices of the optimizer's state that it holds, ascending; none where that is not sharded."""
        ...

    def has_prepared(self, step: Step) -> bool:
        """Whether the summed gradient of `step` is here, waiting for its verdict."""
        ...

    def discard(self, step: Step) -> None:
        """Drop the prepared gradient of `step`, which is about to be summed anew by other members."""
        ...

    def forget(self) -> None:
        """Drop the state and every prepared gradient: they are of no use any more."""
        ...

    async def restore(self, order: Restore) -> int:
        """Load a checkpoint (or build the initial model); returns the size of the state in bytes.

        Cursor and counters are the order's: a run that went back goes on past samples that were consumed since.
        """
        ...

    async def adopt(self, snapshot: Snapshot) -> None:
        """Take over a peer's state."""
        ...

    def assume(self, order: Order) -> None:
        """Be at the order's state without any of it; `complete` must follow. Only where the optimizer is sharded."""
        ...

    async def lend(self, order: Order) -> Array:
        """What this worker has for the others before the work of `order`, ready for `Exchange.spread`."""
        ...

    async def complete(self, order: Order, vector: Array) -> int:
        """Take what the others had: all parameters are here then, and the slices that `order` says are this worker's
        to keep; those that it does not know of are dropped. Returns how many bytes came."""
        ...

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        """Compute the batch's shards and add them to `local`, all of them or (raising) none."""
        ...

    async def begin_next(self, local: Local, batch: Batch) -> Local | None:
        """Begin the step after `local`'s, whose update was begun, with this batch; returns what is known of it so far.

        None where an engine cannot. It counts only if the step's batch turns out to be this one.
        """
        ...

    async def parts(self, local: Local) -> Mapping[Node, Array]:
        """`local`'s gradients as flat fp32 vectors on the host, by node of the summation tree."""
        ...

    async def measure(self, local: Local, summed: Array | None, portion: Portion | None = None) -> Measured:
        """Take the summed gradient (None: `local` is the whole of it) as the prepared one of its step.

        Of a portion only the slices that this rank speaks for are measured."""
        ...

    async def own_square_sum(self, local: Local) -> float:
        """Sum of squares of `local`'s own part of the gradient; not finite if it is not. Only asked for in trouble."""
        ...

    async def apply(self, verdict: Verdict, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """Close the prepared step: update the parameters (or skip), and move on to its state."""
        ...

    async def evaluate(self, work: EvaluateWork, rank: Rank, generation: Generation) -> Evaluated:
        """This rank's share of the held-out data."""
        ...

    def sizes(self) -> StateSizes:
        """How large every tensor of the present state is; the same on all workers."""
        ...

    async def snapshot(self, share: Share | None = None) -> Snapshot:
        """The present state, or this share of it: immutable arrays, readable from any thread."""
        ...

    async def parameter_hash(self) -> str:
        """Hash of the present parameters."""
        ...


class Feeder(Protocol):
    """Batches by order."""

    async def take(self, order: StepOrder, rank: Rank) -> Batch:
        """The rows of every shard that `order` gives to `rank`."""
        ...

    def ready(self, order: StepOrder, rank: Rank) -> Batch | None:
        """The batch that `take` would return for such an order, if it is there already. It stays there."""
        ...


class Exchange(Protocol):
    """The data plane between the workers of one generation."""

    async def set_members(self, generation: Generation, members: Sequence[Member]) -> None:
        """Connect to these, and refuse whatever belongs to an older generation."""
        ...

    def portion(self, order: Order) -> Portion | None:
        """Which slices of the sum this rank gets in a step of `order`; None: all of it."""
        ...

    async def sum(self, order: StepOrder, parts: Mapping[Node, Array], portion: Portion | None = None) -> Array:
        """The sum over all contributors, or this portion of it, the same bytes wherever they are. Raises PeerLost or
        Aborted."""
        ...

    async def spread(self, order: Order, lent: Array) -> Array:
        """Hand what was lent to whoever lacks it, and fill in what the others lend. Raises PeerLost or Aborted."""
        ...

    async def offer(self, snapshots: Sequence[Snapshot]) -> None:
        """Serve exactly these states to newcomers."""
        ...

    async def fetch(self, heal: Heal) -> tuple[Snapshot, int, tuple[Rank, ...]]:
        """A state from the members that offer it: (state, bytes, sources). Raises PeerLost."""
        ...


class Writer(Protocol):
    """The checkpoint writer beside the trainer."""

    async def write(self, engine: Engine, order: Order) -> None:
        """Queue what is this worker's share, if any, of the state that `engine` holds and `order` wants saved.

        Returns at once, and the writer reports by itself when it is on disk.
        """
        ...

    async def seal(self, order: Seal) -> None:
        """Queue the completion of a checkpoint; the writer reports by itself."""
        ...


class Pulse:
    """Where the worker is, and since when. What it says is progress: a hung device does not change its phase."""

    def __init__(self, beat: Callable[[int, str], None]) -> None:
        """`beat(step, phase)` is called at every change; it must return at once."""
        self.step, self.phase = 0, "idle"
        self._since = trio.current_time()
        self._beat = beat

    @property
    def seconds_in_phase(self) -> float:
        """How long the present phase has lasted."""
        return trio.current_time() - self._since

    def enter(self, step: int, phase: str) -> float:
        """Begin a phase; returns how many seconds the one before it lasted."""
        seconds = self.seconds_in_phase
        self.step, self.phase, self._since = step, phase, trio.current_time()
        self._beat(step, phase)
        return seconds


@dataclass(frozen=True)
class Parts:
    """What a trainer is made of."""

    engine: Engine
    feeder: Feeder
    exchange: Exchange
    writer: Writer
    pulse: Pulse
    stages: int = 1
    """> 1: a step is computed together with the other stages of a pipeline, by all of them or by none."""
