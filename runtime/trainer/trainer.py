"""The trainer's side of the protocol: orders in, votes out, and the state in between.

Orders are done one after another, and none is left out, because each may carry a verdict. An order that repeats the
step under way cancels it; what was computed stays. A newcomer runs the same loop before it holds a state: it takes the
summed gradients of the steps that others compute, puts them aside, fetches a state, and applies what it put aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from runtime.cluster.messages import (
    CheckpointDone,
    EvaluateWork,
    ExchangeFailed,
    Finish,
    Heal,
    Holding,
    Join,
    Order,
    Progress,
    Refused,
    Restore,
    Seal,
    ShardWritten,
    StepWork,
    ToWorker,
    Verdict,
)
from runtime.cluster.session import Session
from runtime.cluster.signals import GENERATION
from runtime.cluster.slices import Portion, held_by
from runtime.errors import Aborted, PeerLost, StaleGeneration
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.trainer.engine import Local, Parts
from runtime.trainer.identity import Identity
from runtime.trainer.session_tasks import SessionTasks
from runtime.trainer.slices import parcels_of
from runtime.trainer.step import begin_next, run_step

HEARTBEAT_SECONDS = 1.0
OUTBOX = 16
HEAL_RETRY_SECONDS = 0.1
HEAL_SECONDS = 120.0
"""How long a newcomer asks for a state that nobody has ready, before it joins anew."""


@dataclass(frozen=True)
class _Closed:
    """A verdict and the coordinator's numbers as of it."""

    verdict: Verdict
    cursor: Cursor
    counters: Mapping[str, float]


class Trainer:
    """`serve` one session after another; the state outlives them."""

    def __init__(self, identity: Identity, parts: Parts) -> None:
        self.identity, self.parts = identity, parts
        self._todo: deque[ToWorker] = deque()
        self._arrived = trio.Event()
        self._scope = trio.CancelScope()
        self._order: Order | None = None
        self._local: Local | None = None
        self._next: Local | None = None
        """The step that will come next, if it was begun."""
        self._closed: dict[Step, _Closed] = {}
        self._healed: Holding | None = None
        self._held: dict[Step, Snapshot] = {}
        self._summed_in: dict[Step, Generation] = {}
        """Generation of the newest exchange of each step that is not applied yet."""
        self._spread_in: tuple[Generation, Step] | None = None
        """(generation, state) in which this worker last got what the others had for it."""
        self._spreading: Generation | None = None
        self._unsaved: Order | None = None
        """An order to save a state that is not whole here yet."""
        self._applying = trio.Lock()
        self._apply_seconds = 0.0
        self._outbox, self._reports = trio.open_memory_channel[CheckpointDone | ShardWritten](OUTBOX)

    def join(self) -> Join:
        """The first message of a session: who is there, and what state it holds."""
        engine, who = self.parts.engine, self.identity
        following = Step(engine.holds + 1)
        prepared = self._summed_in.get(following, 0) if engine.holds >= 0 and engine.has_prepared(following) else 0
        return Join(
            run=who.run,
            rank=who.rank,
            incarnation=who.incarnation,
            peer_address=who.peer_address,
            holds=engine.holds,
            prepared=prepared,
            cursor=engine.cursor,
            counters=engine.counters,
            samples_in_epoch=who.samples_in_epoch,
            data_fingerprint=who.data_fingerprint,
            host=who.host,
            device=who.device,
            pid=who.pid,
            parameters=who.parameters,
            trained_parameters=who.trained_parameters,
            slices=engine.slices,
            stage_address=who.stage_address,
            is_away=who.is_away,
        )

    def report(self, done: CheckpointDone | ShardWritten) -> None:
        """Pass on what the checkpoint writer did, in this session or the next one."""
        self._outbox.send_nowait(done)

    async def serve(self, session: Session) -> Finish | Refused:
        """Follow the coordinator's orders until it ends the session in order.

        Raises PeerLost when the coordinator is gone (the state is kept: join its successor), StaleGeneration when the
        state is of no use any more (it was dropped: join anew), and WorkerUnfit when this device cannot do its part.
        """
        self._todo.clear()
        self._closed.clear()
        self._order, self._healed, self._spread_in, self._unsaved = None, None, None, None
        async with trio.open_nursery() as nursery:
            tasks = SessionTasks(nursery)
            tasks.start(self._listen, session)
            tasks.start(self._heartbeat, session)
            tasks.start(self._pass_on, session)
            tasks.start(self._work, session, tasks)
        if isinstance(tasks.failure, StaleGeneration):
            self._forget()
        if tasks.failure is not None:
            raise tasks.failure
        session.leave()
        assert tasks.end is not None  # the nursery ends only with an end or a failure
        return tasks.end

    def _forget(self) -> None:
        self.parts.engine.forget()
        self._local = self._next = None
        self._summed_in.clear()

    # ---- the tasks of a session

    async def _listen(self, session: Session) -> None:
        while True:
            message = await session.hear()
            if isinstance(message, Seal):  # no work of the trainer's, and no reason to wait for the end of a step
                await self.parts.writer.seal(message)
                continue
            self._todo.append(message)
            self._arrived.set()
            if self._supersedes(message):
                self._scope.cancel()

    def _supersedes(self, message: ToWorker) -> bool:
        """Whether what is under way cannot end as it was ordered."""
        match message:
            case Heal():
                return False
            case Order(generation=generation) if self._spreading is not None:
                return generation > self._spreading  # another order of its own needs the same
            case Order(state=state) if self._order is not None and isinstance(self._order.work, StepWork):
                return state < self._order.work.order.step
            case _:
                return True

    async def _heartbeat(self, session: Session) -> None:
        pulse = self.parts.pulse
        while True:
            await trio.sleep(HEARTBEAT_SECONDS)
            await session.say(Progress(pulse.step, pulse.phase, pulse.seconds_in_phase))

    async def _pass_on(self, session: Session) -> None:
        async for done in self._reports:
            await session.say(done)

    async def _work(self, session: Session, tasks: SessionTasks) -> None:
        while True:
            while not self._todo:
                self._arrived = trio.Event()
                await self._arrived.wait()
            match self._todo.popleft():
                case Order() as order:
                    await self._do(order, session)
                case Heal() as heal:
                    self._forget()
                    self._order = None
                    await self._offer_nothing()  # it may have drifted while it was a source
                    tasks.start(self._heal, heal, session)
                case Restore() as back:
                    await self._restore(back, session)
                case Finish() | Refused() as end:
                    return tasks.over(end)

    # ---- one order

    async def _do(self, order: Order, session: Session) -> None:
        engine, rank = self.parts.engine, self.identity.rank
        self._order = order
        if order.verdict is not None:
            self._closed[order.state] = _Closed(order.verdict, order.cursor, order.counters)
        await self._arrive(order)
        await self._hold(order)
        if order.save is not None and rank in order.save.writers and engine.holds == order.state:
            self._unsaved = order
        if not order.holders:
            await self._save()
        await self.parts.exchange.set_members(order.generation, order.members)
        with trio.CancelScope() as self._scope:
            if any(self._supersedes(message) for message in self._todo):
                return
            if order.holders and not await self._spread(order, session):
                return
            await self._save()
            match order.work:
                case StepWork() as work:
                    await self._step(work, self.parts.exchange.portion(order), session)
                case EvaluateWork() as work if rank in work.workers:
                    self._next = None
                    await self._evaluate(order, work, session)
                case _:
                    self._local = self._next = None
                    self.parts.pulse.enter(order.state, "idle")

    async def _arrive(self, order: Order) -> None:
        """Be at the order's state. Whoever holds nothing of a sharded state can be there at once."""
        engine, known = self.parts.engine, held_by(self.identity.rank, order.holders)
        try:
            await self._catch_up()
        except StaleGeneration:
            if not order.holders or known:
                raise
        if order.holders and engine.holds != order.state:
            if known:
                raise StaleGeneration(f"slices of the state after step {order.state} are expected here")
            self._forget()
            engine.assume(order)
        if not set(known) <= set(engine.slices):
            raise StaleGeneration(f"slices of the state after step {order.state} are expected here, and were never had")

    async def _spread(self, order: Order, session: Session) -> bool:
        """Between steps of a sharded run, once in a generation: the others' parameters, and the slices to keep.

        Whether all of it is here; if not, the coordinator knows."""
        place, engine, pulse = (order.generation, order.state), self.parts.engine, self.parts.pulse
        if self._spread_in == place:
            return True
        started, had = trio.current_time(), engine.slices
        pulse.enter(order.state, "spread")
        self._spreading = order.generation
        try:
            vector = await self.parts.exchange.spread(order, await engine.lend(order))
            size_bytes = await engine.complete(order, vector)
        except Aborted:
            return False
        except PeerLost as lost:
            await session.say(_failed(order.generation, Step(order.state + 1), lost))
            return False
        finally:
            self._spreading = None
        self._spread_in = place
        if engine.slices and not had:
            sources = tuple(sorted({parcel.sender for parcel in parcels_of(order)}))
            await session.say(Holding(order.state, trio.current_time() - started, size_bytes, sources))
        return True

    async def _save(self) -> None:
        """Queue what is to be saved of the present state, now that it is whole."""
        order, self._unsaved = self._unsaved, None
        if order is not None and order.state == self.parts.engine.holds:
            await self.parts.writer.write(self.parts.engine, order)

    async def _step(self, work: StepWork, portion: Portion | None, session: Session) -> None:
        rank, engine, order = self.identity.rank, self.parts.engine, work.order
        votes = rank in order.contributors
        if self._healed is not None:
            if not votes and engine.holds == order.step - 1:
                await session.say(Holding(Step(engine.holds), *self._healing()))
            self._healed = None if votes else self._healed
        begun, self._next = self._next, None
        kept = self._local if self.parts.stages == 1 else None  # a stage computes when all stages of its pipeline do
        if kept is None or kept.step != order.step or kept.tallies.keys() - order.shards_of(rank):
            # a sum that holds a shard of somebody else's cannot be taken apart
            kept = begun if begun is not None and begun.step == order.step else Local(order.step)
            kept.generation, kept.apply_seconds = order.generation, self._apply_seconds
        kept.learning_rate, kept.update = work.learning_rate, work.update
        self._local = kept
        engine.discard(order.step)
        self._summed_in[order.step] = order.generation
        try:
            vote = await run_step(order, rank, self._local, self.parts, portion)
        except Aborted:
            return
        except PeerLost as lost:
            if not votes:
                raise StaleGeneration(f"missed step {order.step} while catching up: {lost}") from lost
            await session.say(_failed(order.generation, order.step, lost))
            return
        if votes:
            self._next = await begin_next(order, rank, self._local, self.parts)  # the device first: it must not wait
            await session.say(vote)

    async def _evaluate(self, order: Order, work: EvaluateWork, session: Session) -> None:
        self.parts.pulse.enter(order.state, "evaluate")
        try:
            found = await self.parts.engine.evaluate(work, self.identity.rank, order.generation)
        except Aborted:
            return
        except PeerLost as lost:  # of another stage of the pipeline
            await session.say(_failed(order.generation, Step(order.state + 1), lost))
            return
        await session.say(found)

    # ---- the state

    async def _catch_up(self) -> None:
        """Apply every verdict that is due and whose gradient is here, in order."""
        engine = self.parts.engine
        async with self._applying:
            while engine.holds >= 0 and (step := Step(engine.holds + 1)) in self._closed:
                if not engine.has_prepared(step):
                    raise StaleGeneration(f"the verdict on step {step} came, but its gradient never did")
                self.parts.pulse.enter(step, "apply")
                closed, summed_in = self._closed.pop(step), self._summed_in.pop(step, 0)
                if closed.counters.get(GENERATION, summed_in) != summed_in:
                    raise StaleGeneration(f"step {step} was summed anew without this worker, and then committed")
                began = trio.current_time()
                await engine.apply(closed.verdict, closed.cursor, closed.counters)
                self._apply_seconds = trio.current_time() - began
                self._local = None
            for step in [step for step in self._closed if 0 <= step <= engine.holds]:
                del self._closed[step]

    async def _hold(self, order: Order) -> None:
        engine = self.parts.engine
        kept = {step: snapshot for step, snapshot in self._held.items() if step in order.hold}
        if engine.holds in order.hold and engine.holds not in kept:
            kept[Step(engine.holds)] = await engine.snapshot()
        if kept.keys() != self._held.keys():
            await self.parts.exchange.offer(tuple(kept.values()))
            self._held = kept  # not before: a session that ends in between must not take it for offered

    async def _offer_nothing(self) -> None:
        await self.parts.exchange.offer(())
        self._held = {}

    async def _restore(self, order: Restore, session: Session) -> None:
        self.parts.pulse.enter(order.step, "restore")
        started = trio.current_time()
        async with self._applying:
            self._forget()
            self._closed.clear()
            await self._offer_nothing()  # a state that was rolled back is nobody's medicine
            size_bytes = await self.parts.engine.restore(order)
        await session.say(Holding(order.step, trio.current_time() - started, size_bytes))

    async def _heal(self, heal: Heal, session: Session) -> None:
        started = trio.current_time()
        snapshot, size_bytes, sources = await self._fetch(heal)
        async with self._applying:
            await self.parts.engine.adopt(snapshot)
        pulse = self.parts.pulse
        before = (pulse.step, pulse.phase)
        await self._catch_up()
        if pulse.phase == "apply":  # it waits for others' sums meanwhile, and must not look hung in its own work
            pulse.enter(*before)
        self._healed = Holding(heal.step, trio.current_time() - started, size_bytes, sources)
        await session.say(Holding(Step(self.parts.engine.holds), *self._healing()))

    async def _fetch(self, heal: Heal) -> tuple[Snapshot, int, tuple[Rank, ...]]:
        """Ask until a source has the state ready: it offers it when it reads the order that follows this `heal`."""
        patience = trio.current_time() + HEAL_SECONDS
        while True:
            try:
                return await self.parts.exchange.fetch(heal)
            except PeerLost as lost:
                members = heal.sources if self._order is None else self._order.members
                if not set(heal.sources) & set(members) or trio.current_time() > patience:
                    raise StaleGeneration(f"the state after step {heal.step} could not be fetched: {lost}") from lost
            await trio.sleep(HEAL_RETRY_SECONDS)

    def _healing(self) -> tuple[float, int, tuple[Rank, ...]]:
        assert self._healed is not None  # only asked while healing
        return self._healed.seconds, self._healed.size_bytes, self._healed.sources


def _failed(generation: Generation, step: Step, lost: PeerLost) -> ExchangeFailed:
    """What the coordinator is told of a sum that never came; -1 where nobody in particular is missed."""
    return ExchangeFailed(generation, step, getattr(lost, "rank", -1), str(lost))
