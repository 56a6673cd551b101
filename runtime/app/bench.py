"""A worker's bench: what its actors share, and its wires to the parent process."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import trio

from runtime.actors.child import Parent
from runtime.actors.ref import Address
from runtime.app.equipment import Equipment
from runtime.app.reports import as_event
from runtime.app.words import COORDINATOR
from runtime.checkpoint.writer import Saved, ShareSaved, WriterOrder
from runtime.cluster.messages import CheckpointDone, ShardWritten
from runtime.collectives import Peer
from runtime.collectives.point_to_point import PointToPoint
from runtime.data.feeder import Feeder
from runtime.errors import MailboxFull, RunError
from runtime.events import CheckpointFailed, CheckpointWritten, to_json
from runtime.ids import ActorPath, Incarnation, Rank
from runtime.supervision import Exited
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread
from runtime.trainer.engine import Pulse
from runtime.trainer.trainer import Trainer

BEAT_SECONDS = 1.0


@dataclass(frozen=True)
class Contact:
    """Where the coordinator listens, and the token that it asks for."""

    address: str
    token: str
    run_id: str


class Bench:
    """Belongs to the worker's trio thread.

    Actors put here what the others need, before they say that they are ready.
    """

    def __init__(
        self,
        equipment: Equipment,
        device: DeviceThread,
        parent: Parent,
        rank: Rank,
        incarnation: Incarnation,
        run_folder: Path,
        *,
        is_away: bool = False,
    ) -> None:
        self.equipment, self.device, self.parent = equipment, device, parent
        self.rank, self.incarnation, self.run_folder = rank, incarnation, run_folder
        self.is_away = is_away
        self.config_hash = hashlib.blake2b((run_folder / "config.toml").read_bytes(), digest_size=8).hexdigest()
        self.path = ActorPath(f"run/node/worker-{rank}")
        self.writer: Address[WriterOrder] = Address(f"{self.path}/writer", 1)
        self.pulse = Pulse(self._tell_pulse)
        self.peer: Peer | None = None
        self.port: PointToPoint | None = None
        """To the other stages of a pipeline."""
        self.feeder: Feeder | None = None
        self.engine: DeviceEngine | None = None
        self.trainer: Trainer | None = None
        self.failure: RunError | None = None
        """What an actor failed with that no restart of this process can cure."""
        self.done = trio.Event()
        """Set when the run is over, or the parent wants this process to stop."""
        self._contact: Contact | None = None
        self._news = trio.Event()

    async def contact(self, *, other_than: Contact | None = None) -> Contact:
        """The coordinator to join; waits for the parent to name one that is not `other_than`."""
        while self._contact is None or self._contact == other_than:
            await self._news.wait()
        return self._contact

    async def obey(self) -> None:
        """Follow the parent's orders until it wants this process to stop."""
        async for order in self.parent.orders:
            if order.kind == COORDINATOR:
                body = order.body
                self._contact = Contact(str(body["address"]), str(body["token"]), str(body["run_id"]))
                self._news.set()
                self._news = trio.Event()
        self.done.set()

    async def beat(self) -> None:
        """Tell the parent each second where this worker is, also while nothing changes."""
        while True:
            self._tell_pulse(self.pulse.step, self.pulse.phase)
            await trio.sleep(BEAT_SECONDS)

    async def tell_device(self) -> None:
        """State what this worker's device had to hold so far."""
        if self.engine is not None:
            self.emit(await self.engine.measured(self.incarnation, self.equipment.planned_bytes))

    def _tell_pulse(self, step: int, phase: str) -> None:
        self.parent.beat(step, phase)

    def emit(self, said: object) -> None:
        """What this worker's actors and their supervisor say: to the coordinator or to the journal."""
        if isinstance(said, Exited) and isinstance(said.exit.error, RunError):
            self.failure = self.failure or said.exit.error
        match said:
            case ShareSaved() if self.trainer is not None:
                self.trainer.report(ShardWritten(said.step, said.attempt, said.shares, said.files))
            case Saved() if self.trainer is not None:
                self.trainer.report(_done(said))
            case _:
                event = as_event(said.fact if isinstance(said, Saved) else said, self.path)
                if event is not None:
                    try:
                        self.parent.fact(to_json(event[0]))
                    except MailboxFull:  # a thousand facts wait already: the parent is not reading
                        os.write(2, b"a fact was dropped: the parent does not read\n")


def _done(saved: Saved) -> CheckpointDone:
    """The writer's last word on an attempt, as the coordinator hears it."""
    match saved.fact:
        case CheckpointWritten() as fact:
            digest = fact.parameter_hash
            return CheckpointDone(fact.step, fact.path, fact.size_bytes, fact.seconds, digest, attempt=saved.attempt)
        case CheckpointFailed(step=step, reason=reason):
            return CheckpointDone(step, "", 0, 0.0, "", reason, saved.attempt)
