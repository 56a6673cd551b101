"""The virtual cluster: workers, coordinators, and a stand-in for the root that restarts the dead and relays news."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from runtime import events as facts
from runtime.cluster.detector import HangDetector
from runtime.cluster.signals import Finished
from runtime.events import Event
from runtime.ids import Incarnation, Rank
from runtime.rpc import FaultyNetwork, LoopbackNetwork
from runtime.rpc.network import HandlerFailure
from tests.virtual.code import Code
from tests.virtual.disk import Disk
from tests.virtual.history import Fault, History
from tests.virtual.ledger import Entry, Ledger, announce, copied, demand, expected, rate_of
from tests.virtual.machine import Contact, Worker
from tests.virtual.plane import Plane
from tests.virtual.wire import KEEPALIVE_SECONDS, WirePlan

COORDINATOR = "coordinator"


@dataclass
class Desk:
    """One coordinator's way to the journal: what is not flushed when it dies is lost, from some point on."""

    cluster: Cluster
    core: Any
    alive: bool = True
    queue: list[Entry] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def publish(self, fact: Event) -> None:
        """Queue a fact, as the coordinator's process does; a dead one says nothing."""
        if not self.alive:
            return
        after = self.core.at if isinstance(fact, facts.StepCommitted | facts.RolledBack) else None
        point = self.core.saves.newest if isinstance(fact, facts.CheckpointWritten | facts.RolledBack) else None
        self.queue.append(Entry(fact, copied(after), point))
        if isinstance(fact, facts.StepCommitted):
            self.cluster.committing(self, fact.step)

    def finished(self, end: Finished) -> None:
        """Queue the end of the run."""
        if self.alive:
            self.queue.append(Entry(end))

    async def settled(self) -> None:
        """Everything that was queued before is in the journal."""
        if self.queue:
            await trio.sleep(self.cluster.random.choice((0.0, 0.0, 0.002)))
        await trio.lowlevel.checkpoint()
        if not self.alive:
            await trio.sleep_forever()
        self.write(len(self.queue))

    def write(self, count: int) -> None:
        """The first `count` entries reach the journal."""
        head, self.queue = self.queue[:count], self.queue[count:]
        for entry in head:
            self.cluster.ledger.take(trio.current_time(), entry)

    def kill(self) -> None:
        """SIGKILL: some of what was under way still arrives, in order; nothing after."""
        if self.alive:
            self.alive = False
            self.write(self.cluster.random.randint(0, len(self.queue)))
            self.queue = []
            self.scope.cancel()


class Cluster:
    """`run` it to the end, then `judge` it."""

    def __init__(self, history: History, code: Code, nursery: trio.Nursery) -> None:
        self.history, self.code, self.nursery = history, code, nursery
        self.random = Random(history.seed + 1)
        self.ledger = Ledger(history)
        self.plan = WirePlan(history.seed, history.rates, self._went_dark)
        self.network = FaultyNetwork(LoopbackNetwork(), self.plan)
        self.plane = Plane(nursery, self.plan, Random(history.seed + 2))
        self.disk = Disk(history.failing_writes, history.shares_of_a_state)
        self.contact = Contact()
        self.detector = HangDetector(10.0, 5.0)
        self.workers: dict[Rank, Worker] = {}
        self.every: list[Worker] = []
        self.desk: Desk | None = None
        self.pending = [fault for fault in history.faults if fault.at < 0]
        self.struck: Counter[str] = Counter()
        self.failures: list[HandlerFailure] = []
        self.over = trio.Event()
        self.stop_asked = False
        self.coordinator: Any = None

    @property
    def outcome(self) -> Finished | None:
        """How the run ended, once the journal knows."""
        return self.ledger.outcome

    # ---- the root's stand-in

    async def run(self) -> None:
        """Everything, until the run is over and every process has ended."""
        for rank in range(self.history.workers):
            self.nursery.start_soon(self._slot, Rank(rank), 0.0)
        for rank, seconds in self.history.late.items():
            self.nursery.start_soon(self._slot, Rank(rank), seconds)
        for fault in self.history.faults:
            if fault.at >= 0:
                self.nursery.start_soon(self._at, fault)
        self.nursery.start_soon(self._watch)
        self.nursery.start_soon(self.ledger.guard)
        if self.history.stop_at >= 0:
            self.nursery.start_soon(self._stop)
        await self._coordinators()

    async def _coordinators(self) -> None:
        while self.outcome is None:
            ledger, history = self.ledger, self.history
            core = self.code.Core(
                history.plan, ledger.point, rate_of, announce, after=copied(ledger.after), generation=ledger.generation
            )
            self.desk = desk = Desk(self, core)
            ledger.joined.clear()
            coordinator = self.code.Coordinator(core, "virtual", desk.publish, desk.settled, desk.finished)
            self.coordinator = coordinator
            with desk.scope:  # its process
                serving = self.network.serve(
                    [coordinator.service], "127.0.0.1:0", name=COORDINATOR, report=self._failed
                )
                async with serving as server:
                    self.contact.tell(server.address)
                    if self.stop_asked:
                        coordinator.stop("the operator")
                    await coordinator.run()
                    await desk.settled()
                    desk.alive = False
            if self.outcome is None:
                await trio.sleep(self.random.choice((0.05, 0.3, 1.0)))
        self.over.set()

    def _failed(self, failure: HandlerFailure) -> None:
        self.failures.append(failure)

    async def _slot(self, rank: Rank, seconds: float) -> None:
        await trio.sleep(seconds)
        incarnation = 0
        while self.outcome is None:
            incarnation += 1
            ended = trio.Event()
            worker = self._new(rank, Incarnation(incarnation))
            self.workers[rank] = worker
            self.nursery.start_soon(self._life, worker, ended)
            await ended.wait()
            await trio.sleep(self.random.choice((0.05, 0.3, 1.0)))

    def _new(self, rank: Rank, incarnation: Incarnation) -> Worker:
        worker = Worker(
            rank, incarnation, self.history, self.code, self.network, self.plane, self.disk, self.ledger, self.contact,
            self._beat,
        )  # fmt: skip
        self.every.append(worker)
        return worker

    async def _life(self, worker: Worker, ended: trio.Event) -> None:
        worker.replaced = ended
        await worker.run()
        self.detector.forget(worker.rank, worker.incarnation)
        if worker.finished:
            await self.over.wait()
        ended.set()

    async def _watch(self) -> None:
        while True:
            for hung in self.detector.judge(trio.current_time()):
                worker = self.workers.get(hung.rank)
                if worker is not None and worker.incarnation == hung.incarnation:
                    self.struck["found hung"] += 1
                    worker.kill()
            await trio.sleep(0.5)

    async def _stop(self) -> None:
        await trio.sleep(self.history.stop_at)
        self.stop_asked = True
        if self.desk is not None and self.desk.alive:
            self.coordinator.stop("the operator")

    # ---- faults

    def _beat(self, worker: Worker, step: int, phase: str) -> None:
        if not worker.alive:
            return
        if self.workers[worker.rank] is worker:  # the root does not listen to a zombie
            self.detector.beat(worker.rank, worker.incarnation, step, phase, trio.current_time())
        for fault in self.pending:
            if fault.rank == worker.rank and fault.phase == phase and step >= fault.step:
                if fault.kind == "drift" and not self._has_company(worker):
                    continue
                self.pending.remove(fault)
                self.struck[fault.kind] += 1
                if fault.kind == "drift":
                    assert worker.engine is not None
                    worker.engine.drift()
                elif fault.kind == "hang":
                    worker.hung = True
                elif fault.kind == "sever in phase":
                    self.network.sever(worker.name, COORDINATOR)
                else:
                    worker.kill()
                return

    def _has_company(self, worker: Worker) -> bool:
        """Whether somebody is there who can tell that this worker has drifted."""
        ballot = self.desk.core.book.ballot if self.desk is not None and self.desk.alive else None
        contributors = ballot.order.contributors if ballot is not None else ()
        return worker.rank in contributors and len(contributors) > 1

    def committing(self, desk: Desk, step: int) -> None:
        """A commit was just decided, and nobody was told yet."""
        for fault in self.pending:
            if fault.kind == "kill coordinator at commit" and step >= fault.step:
                self.pending.remove(fault)
                self.struck[fault.kind] += 1
                desk.kill()
                return

    async def _at(self, fault: Fault) -> None:
        await trio.sleep(fault.at)
        worker, other = self.workers.get(Rank(fault.rank)), self.workers.get(Rank(fault.other))
        if fault.kind == "kill coordinator":
            self.struck[fault.kind] += 1
            if self.desk is not None:
                self.desk.kill()
            return
        if worker is None or not worker.alive:
            return
        if fault.kind in ("flap link", "cut link", "cut for good") and (
            other is None or other is worker or not other.alive
        ):
            return
        self.struck[fault.kind] += 1
        if fault.kind == "kill worker":
            worker.kill()
        elif fault.kind == "sever session":
            self.network.sever(worker.name, COORDINATOR)
        elif fault.kind == "flap link":
            assert other is not None
            self.plane.flap(worker.name, other.name)
        elif fault.kind == "cut for good":
            assert other is not None
            self.plan.hold((worker.name, other.name), (other.name, worker.name))
        elif fault.kind == "cut link":
            assert other is not None
            await self._cut(fault.seconds, (worker.name, other.name), (other.name, worker.name))
        elif fault.kind == "isolate":
            await self._cut(fault.seconds, (worker.name, "*"), ("*", worker.name))
        elif fault.kind == "replace isolated":
            worker.replaced.set()
            await self._cut(fault.seconds, (worker.name, "*"), ("*", worker.name))
            self.network.sever(worker.name, COORDINATOR)

    async def _cut(self, seconds: float, *links: tuple[str, str]) -> None:
        self.plan.hold(*links)
        with trio.move_on_after(seconds):
            await trio.sleep(KEEPALIVE_SECONDS)
            self.network.sever(links[0][0], COORDINATOR)
            await trio.sleep_forever()
        self.plan.mend(*links)

    def _went_dark(self, caller: str, server: str) -> None:
        self.nursery.start_soon(self._keepalive, caller, server)

    async def _keepalive(self, caller: str, server: str) -> None:
        await trio.sleep(KEEPALIVE_SECONDS)
        self.network.sever(caller, server)

    # ---- the end

    def end(self) -> None:
        """Kill whatever still lives."""
        for worker in self.every:
            worker.kill()
        if self.desk is not None:
            self.desk.kill()

    def judge(self) -> None:
        """What must hold when everything is over."""
        assert self.outcome is not None
        strange = [f"{failure.path}: {failure.error!r}" for failure in self.failures if not expected(failure.error)]
        demand(not strange, f"I6 a handler failed: {strange}")
        self.ledger.ended(self.outcome.outcome, self.outcome.reason, self.disk.states, self.disk.failed)
        last = len(self.ledger.chain) - 1
        for rank in self.desk.core.roster.active if self.desk is not None else ():
            worker = self.workers[rank]
            if (
                worker.finished
                and worker.engine is not None
                and worker.engine.state is not None
                and worker.engine.is_whole
            ):
                state = worker.engine.state
                same = (state.step, state.digest) == (last, self.ledger.chain[last].digest)
                demand(same, f"I4 {worker.name} ends with {state}, the run with step {last}")
