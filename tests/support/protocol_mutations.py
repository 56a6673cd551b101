# ruff: noqa: E501 - a table reads best with one mistake per line
"""Deliberate mistakes in the step protocol, each of which the virtual cluster must find with some seed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tests.virtual.code import Code
from tests.virtual.history import History, history_of, parted_history_of

MODULES = (
    "runtime.cluster.placement",
    "runtime.cluster.division",
    "runtime.cluster.membership",
    "runtime.cluster.recovery",
    "runtime.cluster.explosion",
    "runtime.cluster.ballot",
    "runtime.cluster.inquiry",
    "runtime.cluster.saves",
    "runtime.cluster.quarrel",
    "runtime.cluster.book",
    "runtime.cluster.gathering",
    "runtime.cluster.rollback",
    "runtime.cluster.boundary",
    "runtime.cluster.drift",
    "runtime.cluster.outcome",
    "runtime.cluster.ending",
    "runtime.cluster.core",
    "runtime.cluster.coordinator",
    "runtime.trainer.step",
    "runtime.trainer.trainer",
)
"""What may be mutated, in the order of import: a copy of each sees the copies before it."""


@dataclass(frozen=True)
class Mutation:
    """Replace `old`, which occurs exactly once in the module, by `new`."""

    mistake: str
    seed: int
    """A seed that found it; when the histories change another one will."""
    module: str
    old: str
    new: str
    also: tuple[str, str, str] = ("", "", "")
    """Module, old and new of a second edit, where the protocol has two lines of defence."""
    histories: Callable[[int], History] = history_of
    """Those among which it is looked for."""

    def applied(self, module: str, source: str) -> str:
        """The source of `module` with the mistake; AssertionError when the code has moved on."""
        for target, old, new in ((self.module, self.old, self.new), self.also):
            if module == f"runtime.{target}":
                found = source.count(old)
                assert found == 1, f"{self.mistake}: {found} places in {module}, not one"
                source = source.replace(old, new)
        return source


MUTATIONS = (
    Mutation("a lost vote is counted", 0, "cluster.ballot", "return set(self.votes) == set(self.contributors)", "return len(self.votes) >= max(1, len(self.contributors) - 1)"),
    Mutation("votes of an older step are counted", 98, "cluster.ballot", "(vote.generation, vote.step) != expected or", "vote.generation != expected[0] or"),
    Mutation("a death opens no new generation", 8, "cluster.boundary", "book.agree(why, again=True)\n    open_step", "open_step"),
    Mutation("the cursor is not advanced", 0, "cluster.ballot", "Cursor(order.cursor + order.samples)", "Cursor(order.cursor)"),
    Mutation("a step commits twice", 0, "cluster.boundary", "    book.ballot = book.evaluation = None\n    book.timers.cancel(\"retry\")\n", "    book.timers.cancel(\"retry\")\n    if book.ballot is not None and book.at.step == 5 and book.at.verdict is not None and book.ballot.order.step == 5:\n        from runtime.cluster.ballot import committed_fact\n        book.publish(committed_fact(book.ballot, book.ballot.count(), book.at, 0.0))\n"),
    Mutation("the verdict is dropped", 2, "cluster.membership", "at.counters, at.verdict)", "at.counters, at.verdict if len(self.entries) > 1 else None)"),
    Mutation("the verdict is told before the journal knows", 0, "cluster.coordinator", "            await self._settled()\n", ""),
    Mutation("a newcomer is active at once", 0, "cluster.membership", "            if entry.reaches(at):", "            if True:"),
    Mutation("take-over forgets the dead worker's shards", 1, "cluster.boundary", "open_step(book, take_over(ballot.order.owners, book.grid.leads(book.roster.active)), now, repeated=True)", "open_step(book, tuple(owner if owner in book.roster.active else Rank(99) for owner in ballot.order.owners), now)"),
    Mutation("take-over gives an orphan to the dead", 1, "cluster.placement", "        heir = owner\n        if owner not in load:", "        heir = owner\n        if owner not in load and len(load) > 2:"),
    Mutation("a skipped step is applied all the same", 1, "cluster.ballot", "committed = CommittedStep(order.step, applied,", "committed = CommittedStep(order.step, count.tokens > 0,"),
    Mutation("a sum of an older generation is applied", 94, "trainer.trainer", "if closed.counters.get(GENERATION, summed_in) != summed_in:", "if False:", also=("cluster.membership", "and 0 < join.prepared == generation", "and 0 < join.prepared")),
    Mutation("a half-done step is kept with foreign shards", 23, "trainer.trainer", "or kept.tallies.keys() - order.shards_of(rank)", ""),
    Mutation("what was computed for one step counts for the next", 6, "trainer.trainer", "or kept.step != order.step", ""),
    Mutation("survivors compute their own shards again", 0, "trainer.step", "owner if owner == rank and shard not in local.tallies else NOBODY", "owner if owner == rank else NOBODY"),
    Mutation("a silent session keeps its place", 54, "cluster.core", "            self._follow(left(book, before.session, \"it opened another session\"), now)\n", ""),
    Mutation("a successor forgets the generation", 0, "cluster.book", "Membership(Generation(generation),", "Membership(Generation(0),"),
    Mutation("a successor forgets the position", 3, "cluster.book", "self.at = after or Position(", "self.at = Position("),
    Mutation("a rollback is not told", 1, "cluster.gathering", "        book.publish(facts.RolledBack(", "        _ = (facts.RolledBack("),
    Mutation("the last checkpoint is not waited for", 4, "cluster.ending", "    if book.saves.holds(book.at.step):", "    if book.saves.holds(book.at.step) or book.saves.writing is not None:"),
    Mutation("a lost writer's checkpoint is waited for", 2, "cluster.book", "        self.saves.lost(entry.rank)\n", ""),
    Mutation("a failed exchange is never tried again", 275, "cluster.boundary", "book.timers.keep(\"retry\", now + book.quarrel.wait_seconds)", "pass"),
    Mutation("an evaluation is not ordered again", 0, "cluster.gathering", "        case Phase.STEPPING | Phase.EVALUATING | Phase.HELD:", "        case Phase.STEPPING | Phase.HELD:"),
    Mutation("a zombie is let in", 19, "cluster.membership", "if join.incarnation < newest:", "if False:"),
    Mutation("who was catching up keeps its session", 2299, "cluster.gathering", "            book.out.append(Close(entry.session))\n            book.take_out(entry.session, \"nobody is left who could give it the state\")\n", "            entry.role = Role.WAITING\n"),
    Mutation("a state counts as offered before it is", 1149, "trainer.trainer", "            await self.parts.exchange.offer(tuple(kept.values()))\n            self._held = kept", "            self._held = kept\n            await self.parts.exchange.offer(tuple(kept.values()))"),
    Mutation("a newcomer's gradients are forgotten", 7, "trainer.trainer", "while engine.holds >= 0 and (step :=", "while engine.holds >= 0 and self._healed is None and (step :="),
    Mutation("a checkpoint is sealed before all its shares are there", 1, "cluster.saves", "return self.shards > 0 and all(", "return self.shards > 0 and any("),
    Mutation("a share that will never come is waited for", 4, "cluster.saves", "any(rank in self.gone and rank not in self.files for rank in self.sharers)", "False"),
    Mutation("nobody is left out of a quarrel", 44, "cluster.quarrel", "if self.failures <= MOST_RETRIES or not accused:", "if self.failures:"),
    Mutation("replicas are never compared", 3, "cluster.drift", "    if not hashes:\n", "    if hashes or not hashes:\n"),
    Mutation("one of two that differ is believed", 50, "cluster.drift", "if 2 * votes > len(alike) and (among_equals or not others):", "if votes:"),
    Mutation("a drifted worker keeps its place", 3, "cluster.drift", "        roster.distrust(*(roster.entries[rank] for rank in opinion.drifted))\n", ""),
    Mutation("a drifted worker's shards are counted all the same", 3, "cluster.drift", "return Again(f\"{_names(tuple(opinion.drifted))} drifted from the others\")", "return None"),
    Mutation("a newcomer is asked for the hash of nothing", 6, "trainer.step", "order.verify and rank in order.contributors", "order.verify"),
    Mutation("who cannot reach the disk is to write", 0, "cluster.membership", " if not entry.join.is_away)", ")", histories=parted_history_of),
    Mutation("who cannot reach the disk is to restore", 1, "cluster.gathering", " if not (book.saves.newest.path and entry.join.is_away))", ")", histories=parted_history_of),
    Mutation("a last checkpoint that nobody could write stays unwritten", 22, "cluster.gathering", "if book.phase is Phase.CLOSING and not book.roster.writers:", "if False:", histories=parted_history_of),
)  # fmt: skip


def mutant(mutation: Mutation) -> Code:
    """The classes of a virtual cluster with one mistake; AssertionError when the mutation no longer applies."""
    before = {name: sys.modules[name] for name in MODULES}
    try:
        made = {name: _copy(name, mutation) for name in MODULES}
    finally:
        sys.modules.update(before)
    core, coordinator = made["runtime.cluster.core"], made["runtime.cluster.coordinator"]
    trainer = made["runtime.trainer.trainer"]
    return Code(core.Core, coordinator.Coordinator, trainer.Trainer, trainer.Identity)


def _copy(name: str, mutation: Mutation) -> ModuleType:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = mutation.applied(name, Path(spec.origin).read_text())
    module = ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up, and the next copy imports from here
    exec(compile(source, f"<{name} with a mistake>", "exec"), module.__dict__)
    return module
