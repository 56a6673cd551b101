"""The sum of one piece: terms come from several lanes in any order and are added in the plan's one order.

A stack machine runs the plan's program. Stack level 0 lives in the result itself, deeper levels (deterministic mode
only) in scratch. A term that lies in a lane's slot is added straight from there: for two workers the sum of a piece is
a single pass over memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from runtime.collectives.codec import Floats
from runtime.collectives.exchange import Term

Release = Callable[[], None]
"""Gives a lane its slot back; called exactly once for every payload, from any thread."""


class Scratch:
    """A pool of equally long fp32 buffers that grows to the largest number ever in use at once."""

    def __init__(self, elements: int) -> None:
        self.elements = elements
        self._free: list[Floats] = []

    def take(self) -> Floats:
        """A buffer of at least `elements`; its content is arbitrary."""
        try:
            return self._free.pop()
        except IndexError:
            return np.empty(self.elements, np.float32)

    def give(self, buffer: Floats) -> None:
        """Return a buffer that nothing refers to any more."""
        self._free.append(buffer)


class Fold:
    """Adds one piece. `offer` may be called from several threads; exactly one of them adds at any moment.

    `out` is the piece's place in the result. `local(term)` gives this rank's own operand as views that are added from
    left to right and never changed, or None when the term is another rank's.
    """

    def __init__(
        self, terms: Sequence[Term], out: Floats, local: Callable[[Term], Sequence[Floats] | None], pool: Scratch
    ) -> None:
        self._terms, self._out, self._local, self._pool = terms, out, local, pool
        self._lock = threading.Lock()
        self._arrived: dict[int, tuple[Floats, Release]] = {}
        self._stack: list[Floats] = []
        self._levels: list[Floats] = []
        self._next = 0
        self._adding = False
        self._dropped = False

    def offer(self, term: int, values: Floats, release: Release) -> bool:
        """Take a remote term and add whatever can be added now. True for the one call that completes the sum.

        `values` belong to the fold until it calls `release`; a term that came before is released and ignored.
        """
        with self._lock:
            fresh = not self._dropped and term >= self._next and term not in self._arrived
            if fresh:
                self._arrived[term] = values, release
        if not fresh:
            release()
            return False
        return self.advance()

    def advance(self) -> bool:
        """Add the terms whose turn has come, until one is missing. True if that completed the sum."""
        with self._lock:
            if self._adding:
                return False
            self._adding = True
        while True:
            with self._lock:
                operand = self._take()
                if operand is None:
                    self._adding = False
                    return False
            views, release = operand
            with np.errstate(over="ignore", invalid="ignore"):  # a gradient that is not finite is the voters' business
                self._push(views, self._terms[self._next].merges, borrowed=release is not None)
            if release is not None:
                release()
            with self._lock:
                self._next += 1
                if self._next == len(self._terms):
                    for buffer in self._levels:
                        self._pool.give(buffer)
                    return True

    def drop(self) -> None:
        """The exchange was given up: return every slot that is held, and refuse what comes later."""
        with self._lock:
            self._dropped = True
            held = list(self._arrived.values())
            self._arrived.clear()
        for _, release in held:
            release()

    def _take(self) -> tuple[Sequence[Floats], Release | None] | None:
        """The next operand if it is here (called with the lock held)."""
        if self._dropped or self._next == len(self._terms):
            return None
        own = self._local(self._terms[self._next])
        if own is not None:
            return own, None
        remote = self._arrived.pop(self._next, None)
        return remote and ((remote[0],), remote[1])

    def _push(self, views: Sequence[Floats], merges: int, *, borrowed: bool) -> None:
        """Push an operand and add the two topmost values `merges` times; a `borrowed` view is copied if it stays."""
        stack = self._stack
        if len(views) > 1:
            total = self._level(len(stack))
            np.add(views[0], views[1], out=total)
            for view in views[2:]:
                np.add(total, view, out=total)
            stack.append(total)
        else:
            stack.append(views[0])
        for _ in range(merges):
            right = stack.pop()
            into = self._level(len(stack) - 1)
            np.add(stack[-1], right, out=into)
            stack[-1] = into
        last = self._next + 1 == len(self._terms)
        if (borrowed and not merges) or (last and stack[0] is not self._out):
            into = self._level(len(stack) - 1)
            np.copyto(into, stack[-1])
            stack[-1] = into

    def _level(self, depth: int) -> Floats:
        """Where the value at this depth of the stack lives: the result itself at the bottom, scratch above."""
        if depth == 0:
            return self._out
        while len(self._levels) < depth:
            self._levels.append(self._pool.take())
        return self._levels[depth - 1][: self._out.size]
