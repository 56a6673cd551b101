"""Any history that the runtime may write is proven, and any sample that is moved in it is found out."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runtime.events import Envelope, Event, RolledBack, RunStarted, StepCommitted
from runtime.events.audit import Audit
from runtime.events.ledger import Ledger
from runtime.events.ledger_samples import ReadingOrder
from runtime.ids import ActorPath, Cursor, Generation, Rank, Step


class Life:
    """A run that goes forward, back and on again, with an order of samples that windows mix."""

    def __init__(self, samples: int, batch: int, window: int, seed: int) -> None:
        self.samples, self.batch, self.window, self.seed = samples, batch, window, seed
        self.step = self.generation = self.session = 0
        self.events: list[Event] = []
        self.resume(0)

    def ids(self, step: int) -> tuple[int, ...]:
        """A pure function, as in the runtime: epochs are permuted, then samples are mixed within the window."""
        span = self.window * self.batch
        window, offset = divmod((step - 1) * self.batch, span)
        ids = [self._sample(position) for position in range(window * span, (window + 1) * span)]
        random.Random(f"{self.seed} {window}").shuffle(ids)
        return tuple(ids[offset : offset + self.batch])

    def _sample(self, position: int) -> int:
        epoch, within = divmod(position, self.samples)
        return random.Random(f"{self.seed} epoch {epoch}").sample(range(self.samples), self.samples)[within]

    def commit(self) -> None:
        self.step += 1
        cursor = Cursor((self.step - 1) * self.batch)
        owner = (Rank(0),)
        event = StepCommitted(
            Step(self.step), Generation(self.generation), cursor, self.batch, True, 1.0, 1, 1.0, 0.1, 0.1
        )
        self.events.append(_with(event, owner, (self.ids(self.step),)))

    def roll_back(self, to: int) -> None:
        to = min(to, self.step)
        self.events.append(RolledBack(Step(self.step), Step(to), "lost"))
        self.step, self.generation = to, self.generation + 1

    def resume(self, at: int) -> None:
        self.step, self.generation = min(at, self.step), 1
        self.session += 1
        self.events.append(
            RunStarted(
                "r",
                1,
                Step(self.step + 1),
                Step(99),
                self.batch,
                "c",
                str(self.session),
                cursor=self.step * self.batch,
                samples=self.samples,
            )
        )

    def audit(self) -> Audit:
        ledger = Ledger()
        for seq, event in enumerate(self.events, start=1):
            ledger.feed(Envelope(seq, 0.0, ActorPath("run"), event))
        return ledger.close(ReadingOrder(self.window * self.batch))


def _with(event: StepCommitted, owners: tuple[Rank, ...], sample_ids: tuple[tuple[int, ...], ...]) -> StepCommitted:
    return replace(event, owners=owners, sample_ids=sample_ids)


lives = st.builds(
    Life,
    samples=st.integers(1, 12),
    batch=st.integers(1, 5),
    window=st.integers(1, 4),
    seed=st.integers(0, 99),
)
moves = st.lists(
    st.one_of(st.just(("commit", 0)), st.tuples(st.sampled_from(["roll_back", "resume"]), st.integers(0, 20))),
    max_size=30,
)


def lived(life: Life, path: list[tuple[str, int]]) -> Life:
    for name, step in path:
        if name == "commit":
            life.commit()
        else:
            getattr(life, name)(step)
    return life


@given(lives, moves)
def test_every_history_of_commits_rollbacks_and_resumptions_is_proven(life: Life, path: list[tuple[str, int]]) -> None:
    told = lived(life, [*path, ("commit", 0)]).audit()
    assert told.violations == ()
    assert told.proven
    assert (told.steps, told.samples) == (life.step, life.step * life.batch)
    assert told.committed == told.steps + told.repeated


@given(st.integers(2, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99), st.data())
def test_one_sample_in_place_of_another_is_found_by_the_end_of_a_whole_epoch(
    samples: int, batch: int, window: int, seed: int, data: st.DataObject
) -> None:
    """After samples x window steps the stream stands at the end of both an epoch and a window: all is even."""
    life = Life(samples, batch, window, seed)
    for _ in range(samples * window):
        life.commit()
    assert life.audit().proven
    index = data.draw(st.integers(1, len(life.events) - 1))
    event = life.events[index]
    assert isinstance(event, StepCommitted)
    ids = list(event.sample_ids[0])
    ids[0] = (ids[0] + data.draw(st.integers(1, samples - 1))) % samples
    life.events[index] = _with(event, event.owners, (tuple(ids),))
    assert not life.audit().proven
