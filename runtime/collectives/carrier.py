"""What a lane needs of those whose messages it carries: sums (`traffic`), or direct messages (`direct`)."""

from __future__ import annotations

from typing import Protocol

from runtime.collectives.codec import Bytes
from runtime.collectives.fold import Release
from runtime.collectives.frame import Header, Hello
from runtime.collectives.reduction import Outgoing
from runtime.ids import Rank


class Carried(Protocol):
    """Every method may be called from any thread."""

    @property
    def run(self) -> int:
        """Hash of the run's name."""
        ...

    @property
    def rank(self) -> Rank:
        """Whose messages these are."""
        ...

    def take(self, peer: Rank) -> Outgoing | None:
        """The next message for `peer`, if there is one now."""
        ...

    def deliver(self, hello: Hello, header: Header, payload: Bytes, release: Release) -> None:
        """A message came in; may block while it is early; `release` is called once in any case. Raises ProtocolError
        for a message that cannot be: then its lane is over."""
        ...

    def opened(self, hello: Hello) -> None:
        """A lane from a peer is open; `incoming_lost` must follow when it is over."""
        ...

    def incoming_lost(self, hello: Hello) -> None:
        """A lane from a peer is over; all that it carried was delivered before."""
        ...

    def outgoing_lost(self, rank: Rank, session: int) -> None:
        """The lane to that life of `rank` is over."""
        ...
