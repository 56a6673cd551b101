"""The board: rows of which the newest counts, and events of which none is lost within the ring. Pure.

Every change gets the next version. Who has seen version v lacks the rows that came later, and those that went since;
so any number of readers is served from one board, each at its own pace, and nobody waits for any of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, NamedTuple

from runtime.view.codec import Place, differing, encode, encode_part

MOST_EVENTS = 4096
_MOST_GONE = 4096


class Told(NamedTuple):
    """A row on its way."""

    place: Place
    data: bytes
    """JSON of a card; empty: the row is gone."""
    is_part: bool = False
    """Only the fields that changed."""


class Board:
    """One epoch: versions of another board mean nothing here."""

    def __init__(self, epoch: int, most_events: int = MOST_EVENTS) -> None:
        self.epoch = epoch
        self.version = 0
        """Of the newest change."""
        self.event_seq = 0
        """The journal's number of the newest event; 0 before the first."""
        self._cards: Mapping[Place, Any] = {}
        self._born: dict[Place, int] = {}
        self._fields: dict[Place, dict[str, int]] = {}
        """Place -> field -> the version in which it got its present value."""
        self._gone: dict[Place, int] = {}
        self._forgotten = 0
        """Whoever has not seen this version may have rows that went, and nobody knows which."""
        self._events: deque[tuple[int, bytes]] = deque(maxlen=most_events)

    def show(self, cards: Mapping[Place, Any]) -> None:
        """From now on these are the rows, all of them."""
        changed = [place for place, card in cards.items() if self._cards.get(place) != card]
        gone = [place for place in self._cards if place not in cards]
        if changed or gone:
            self.version += 1
        for place in changed:
            before = self._cards.get(place)
            if before is None:
                self._born[place], self._fields[place] = self.version, {}
            else:
                self._fields[place] |= dict.fromkeys(differing(before, cards[place]), self.version)
            self._gone.pop(place, None)
        for place in gone:
            del self._born[place], self._fields[place]
            self._gone[place] = self.version
        while len(self._gone) > _MOST_GONE:
            self._forgotten = self._gone.pop(next(iter(self._gone)))
        self._cards = dict(cards)

    def tell(self, seq: int, line: bytes) -> None:
        """One event more; its number must be above those before."""
        self._events.append((seq, line))
        self.event_seq = seq

    def rows(self, topics: Collection[str]) -> list[Told]:
        """Every row of some topics (none named: of all)."""
        cards = self._cards.items()
        return [Told(place, encode(card)) for place, card in cards if not topics or place[0] in topics]

    def rows_since(self, version: int, topics: Collection[str]) -> list[Told] | None:
        """What came after `version`: new rows, of the others the fields that changed, and what went since.

        None where only all rows help: the version is not of this board, or too old.
        """
        if version > self.version or version < self._forgotten:
            return None
        fresh = [told for place, card in self._cards.items() if (told := self._since(place, card, version)) is not None]
        fresh += [Told(place, b"") for place, since in self._gone.items() if since > version]
        return [told for told in fresh if not topics or told.place[0] in topics]

    def _since(self, place: Place, card: Any, version: int) -> Told | None:
        if self._born[place] > version:
            return Told(place, encode(card))
        names = [name for name, since in self._fields[place].items() if since > version]
        return Told(place, encode_part(card, names), is_part=True) if names else None

    def events_since(self, seq: int, most: int) -> list[tuple[int, bytes]]:
        """Up to `most` events with a number above `seq`, oldest first."""
        if seq >= self.event_seq:
            return []
        behind = 0
        for number, _ in reversed(self._events):
            if number <= seq:
                break
            behind += 1
        return list(islice(self._events, len(self._events) - behind, len(self._events) - behind + most))

    def lost_after(self, seq: int) -> bool:
        """Whether events after `seq` may have been in the ring and are not any more."""
        return len(self._events) == self._events.maxlen and self._events[0][0] > seq
