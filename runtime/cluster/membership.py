"""Who is in the run, how far each of them is, and which generation they form.

A small mutable book that only the coordinator's core writes in.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from runtime.cluster.division import Pace
from runtime.cluster.grid import Grid
from runtime.cluster.messages import Heal, Holding, Join, Member, Order, Save, Vote, Work
from runtime.cluster.signals import GENERATION, Position
from runtime.cluster.slices import Holders, holders_of
from runtime.events import GenerationStarted, StateHealed, WorkerJoined, WorkerLost
from runtime.flow import StepOrder
from runtime.ids import Generation, Incarnation, Rank, Step


class Role(Enum):
    """How far a worker has come."""

    WAITING = "waiting"
    """Joined; holds nothing that is of use, and was told nothing yet."""
    CATCHING_UP = "catching up"
    """Restoring or healing: gets summed gradients, owns no shard, has no vote."""
    ACTIVE = "active"
    """Holds the committed state, or will as soon as it reads its orders."""


@dataclass
class Entry:
    """One joined worker."""

    session: int
    join: Join
    role: Role = Role.WAITING
    holds: int = -1
    heals_from: int = -1
    """Step of the state that it fetches from its peers, -1 when it does not."""
    pace: Pace = field(default_factory=Pace)
    slices: frozenset[int] = frozenset()
    """Of the optimizer's state, those that it is known to hold."""

    @property
    def rank(self) -> Rank:
        """The worker's slot."""
        return self.join.rank

    @property
    def member(self) -> Member:
        """As the other workers see it."""
        join = self.join
        return Member(join.rank, join.incarnation, join.peer_address, join.stage_address)

    def reaches(self, at: Position) -> bool:
        """Whether it joined with the state `at`, or will have it once it hears the verdict on the step it prepared."""
        join, generation = self.join, at.counters.get(GENERATION, 0)
        if self.holds == at.step:
            return join.counters.get(GENERATION, 0) == generation
        return 0 <= self.holds == at.step - 1 and at.verdict is not None and 0 < join.prepared == generation

    @property
    def joined(self) -> WorkerJoined:
        """The fact that it joined."""
        join = self.join
        return WorkerJoined(join.rank, join.incarnation, Step(join.holds), join.pid, join.host, join.device)

    def healed(self, by: Holding) -> StateHealed:
        """The fact that it has the state now."""
        return StateHealed(self.rank, by.step, by.seconds, by.size_bytes, by.sources)

    def lost(self, reason: str) -> WorkerLost:
        """The fact that it left."""
        return WorkerLost(self.rank, self.join.incarnation, reason)


@dataclass
class Membership:
    """The joined workers by rank; the newest incarnation of each (so that a zombie is known); the generation; and
    which data they read, all of them the same."""

    generation: Generation
    entries: dict[Rank, Entry] = field(default_factory=dict)
    newest: dict[Rank, int] = field(default_factory=dict)
    suspects: set[tuple[Rank, Incarnation]] = field(default_factory=set)
    """Workers whose state is not to be believed until they have another one, whatever they say that they hold."""
    members: tuple[Member, ...] = ()
    """Who took part in the generation."""
    fingerprint: str = ""
    samples_in_epoch: int = 0
    slices: int = 0
    """> 0: the optimizer's state is sharded, in so many slices."""
    grid: Grid = field(default_factory=Grid)

    def refusal(self, join: Join) -> str:
        """Why this worker may not come in; empty when it may. The first one says which data the run reads."""
        self.fingerprint = self.fingerprint or join.data_fingerprint
        self.samples_in_epoch = self.samples_in_epoch or join.samples_in_epoch
        newest = self.newest.get(join.rank, 0)
        if join.data_fingerprint != self.fingerprint:
            return f"worker {join.rank} on {join.host} reads other training data than the first worker did"
        if join.incarnation < newest:
            return f"incarnation {join.incarnation} of worker {join.rank} was replaced by {newest}"
        return ""

    def enter(self, session: int, join: Join) -> Entry:
        """Take a worker in. Whoever spoke for its slot before must have left."""
        self.newest[join.rank] = join.incarnation
        believed = (join.rank, join.incarnation) not in self.suspects
        self.entries[join.rank] = entry = Entry(session, join, holds=join.holds if believed else -1)
        entry.slices = frozenset(join.slices)
        return entry

    def leave(self, session: int) -> Entry | None:
        """Take out whoever spoke through `session`; None when that session was replaced already."""
        for rank, entry in self.entries.items():
            if entry.session == session:
                return self.entries.pop(rank)
        return None

    def of_session(self, session: int) -> Entry | None:
        """The worker behind a session."""
        return next((entry for entry in self.entries.values() if entry.session == session), None)

    def with_role(self, *roles: Role) -> tuple[Entry, ...]:
        """Workers in these roles, by rank."""
        return tuple(self.entries[rank] for rank in sorted(self.entries) if self.entries[rank].role in roles)

    @property
    def active(self) -> tuple[Rank, ...]:
        """Ranks that own shards and vote."""
        return tuple(entry.rank for entry in self.with_role(Role.ACTIVE))

    @property
    def holders(self) -> Holders:
        """Who of the active ranks holds which slice of the optimizer's state; empty when it is not sharded."""
        return holders_of({entry.rank: entry.slices for entry in self.with_role(Role.ACTIVE)}, self.slices)

    def have_all(self, entries: Sequence[Entry]) -> bool:
        """Whether these, which hold one state, hold all of it between them."""
        stages = self.grid.covered_by(entry.rank for entry in entries)
        return bool(entries) and stages and len(frozenset().union(*(entry.slices for entry in entries))) >= self.slices

    @property
    def is_whole(self) -> bool:
        """Whether the active workers hold all of their state between them."""
        return self.have_all(self.with_role(Role.ACTIVE))

    @property
    def writers(self) -> tuple[Rank, ...]:
        """Active ranks that reach the run's folder. A checkpoint is whole on one disk.

        Of a sharded state only those that hold a part of it: a newcomer may have a long way to go."""
        active = [entry for entry in self.with_role(Role.ACTIVE) if entry.slices or not self.slices]
        return tuple(entry.rank for entry in active if not entry.join.is_away)

    @property
    def paces(self) -> dict[Rank, Pace]:
        """How fast each active worker is."""
        return {entry.rank: entry.pace for entry in self.with_role(Role.ACTIVE)}

    def measure(self, votes: Mapping[Rank, Vote]) -> None:
        """Learn from an undisturbed step how fast each voter computes."""
        for rank, vote in votes.items():
            self.entries[rank].pace.note(vote.computed_positions, vote.compute_seconds)

    def distrust(self, *entries: Entry) -> None:
        """These hold nothing that is of use: each must get the state anew before it takes part again."""
        for entry in entries:
            entry.role, entry.holds, entry.heals_from = Role.WAITING, -1, -1
            self.suspects.add((entry.rank, entry.join.incarnation))

    def trust(self, entry: Entry) -> None:
        """It has got a state that everybody shares."""
        entry.role = Role.ACTIVE
        self.suspects.discard((entry.rank, entry.join.incarnation))

    @property
    def receivers(self) -> tuple[Rank, ...]:
        """Ranks that get the summed gradient."""
        return tuple(entry.rank for entry in self.with_role(Role.ACTIVE, Role.CATCHING_UP))

    def demote(self, entry: Entry, at: Position) -> None:
        """An active worker, which holds `at` once it has read its orders, waits like a newcomer."""
        counters = dict(at.counters)
        entry.join = replace(entry.join, holds=at.step, prepared=0, cursor=at.cursor, counters=counters)
        entry.role, entry.holds, entry.heals_from = Role.WAITING, at.step, -1

    def admit(self, at: Position, exiles: Container[Rank] = ()) -> list[tuple[Entry, Heal]]:
        """Newcomers become members: at once if they hold `at`, else by fetching it from active ones of their stage.

        `exiles` have to wait. Returns what to tell those who fetch. Where the optimizer is sharded nobody does: every
        member is given parameters and slices before it works (see `slices`)."""
        waiting = [entry for entry in self.with_role(Role.WAITING) if entry.rank not in exiles]
        for entry in waiting if self.active else ():
            if entry.reaches(at):
                entry.role = Role.ACTIVE
            elif self.slices:
                entry.role, entry.slices = Role.ACTIVE, frozenset()
        active, told = self.active, []
        for entry in (entry for entry in waiting if entry.role is Role.WAITING):
            sources = tuple(self.entries[rank].member for rank in self.grid.twins(entry.rank, active))
            if sources:
                entry.role, entry.heals_from = Role.CATCHING_UP, at.step
                told.append((entry, Heal(at.step, at.cursor, at.counters, sources)))
        return told

    def settle(self, *, again: bool) -> bool:
        """Bump the generation if the members are not those of the last one (or `again`); whether it was bumped."""
        members = tuple(entry.member for entry in self.with_role(Role.ACTIVE, Role.CATCHING_UP))
        if members == self.members and not again:
            return False
        self.members = members
        self.generation = Generation(self.generation + 1)
        return True

    @property
    def held(self) -> tuple[Step, ...]:
        """States that members must keep, because a newcomer is fetching them."""
        healing = self.with_role(Role.CATCHING_UP)
        return tuple(Step(step) for step in sorted({entry.heals_from for entry in healing if entry.heals_from >= 0}))

    # ---- what the members are told

    def step_order(
        self, at: Position, samples: int, owners: tuple[Rank, ...], *, verify: bool = False, inspect: bool = False
    ) -> StepOrder:
        """The step after `at` in this generation: `owners` compute (and are compared: `verify`), everybody receives."""
        head = self.generation, Step(at.step + 1), at.cursor, samples
        return StepOrder(*head, owners, self.receivers, verify, inspect)

    def order(self, at: Position, work: Work, save: Save | None, keepers: Holders | None = None) -> Order:
        """`work` for this generation, with the verdict that led to `at`, and who saves `at` meanwhile."""
        head, holders = (self.generation, self.members, at.step, at.cursor, at.counters, at.verdict), self.holders
        return Order(*head, work, save, self.held, holders=holders, keepers=holders if keepers is None else keepers)

    def started(self, first: Step, why: str) -> GenerationStarted:
        """The fact that this generation begins with step `first`."""
        names = tuple((member.rank, member.incarnation) for member in self.members)
        return GenerationStarted(self.generation, first, names, why)
