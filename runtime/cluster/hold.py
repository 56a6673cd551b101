"""A pause that somebody asked for: no step is ordered until somebody asks to go on.

Everybody stays, has the committed state, and beats; whoever dies comes back and is healed; a checkpoint that is wanted
is written. No clock that gives up counts a pause. That there is one survives this coordinator: the root tells a
successor.
"""

from __future__ import annotations

from runtime import events as facts
from runtime.cluster.book import Book, Boundary, Next
from runtime.cluster.messages import Rest
from runtime.cluster.signals import Phase


def is_held(book: Book) -> bool:
    """Whether the boundary at hand is where the run stands: not at its end, and not on the way to it."""
    return bool(book.held) and book.at.step < book.last and not book.stop_asked


def stand(book: Book, now: float) -> None:
    """Order everybody to rest at the committed state."""
    was, book.phase = book.phase, Phase.HELD
    book.agree("the members changed")
    if was is not Phase.HELD:
        book.publish(facts.RunPaused(book.at.step, book.held))
    book.order(Rest(f"paused by {book.held}"), now)


def hold(book: Book, by: str) -> Next | None:
    """Somebody asks for a pause; the work under way is finished first."""
    book.held = book.held or by
    book.timers.cancel("wait")
    return None


def resume(book: Book, now: float) -> Next | None:
    """Somebody asks to go on."""
    was_held, book.held = book.held, ""
    if was_held and book.phase is Phase.PAUSED:
        book.timers.keep("wait", now + book.plan.wait_seconds)
    return Boundary() if book.phase is Phase.HELD else None


def save(book: Book) -> Next | None:
    """Somebody asks for a checkpoint; the boundary orders it."""
    if book.phase is not Phase.HELD:
        book.saves.wanted = True
        return None
    book.saves.wanted = book.saves.wanted or not book.saves.holds(book.at.step)
    return Boundary() if book.saves.may_begin else None
