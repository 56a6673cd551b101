"""Progress for files and CI: whole lines, no control characters, and not one line for each step.

    00:12  step 120/1000  loss 2.1342  12.3k tok/s  eta 3m20s  workers 2/2  restarts 0

A line of figures comes with the first step, then at most every few seconds, and with the last one; notable facts come
at once. Time is the facts' own, so that the same journal gives the same text.
"""

from __future__ import annotations

from typing import TextIO

from console.cli.progress.output import Output
from console.cli.progress.repeats import Repeats
from console.cli.progress.status import parts_of
from console.state.figures import clock
from console.state.notable import line_of
from runtime.events import Envelope, RunState, StepCommitted


class Plain:
    """Writes lines to `stream`; figures at most every `every_seconds`."""

    def __init__(self, stream: TextIO, every_seconds: float = 10.0) -> None:
        self._output, self._repeats = Output(stream), Repeats()
        self._every_seconds = every_seconds
        self._figures_at: float | None = None
        self._figures_of: int | None = None

    def update(self, envelope: Envelope, state: RunState) -> None:
        """Write what this fact is worth: a line of its own, a line of figures, or nothing."""
        notable = line_of(envelope, state) if self._repeats.is_news(envelope) else ""
        if notable:
            self._line(notable, envelope.wall_seconds, state)
        if isinstance(envelope.event, StepCommitted) and self._due(envelope, state):
            self._figures(envelope.wall_seconds, state)

    def close(self, state: RunState) -> None:
        """Write the last figures, unless they stand there already."""
        if state.training.last is not None and self._figures_of != state.training.step:
            self._figures(state.wall_seconds, state)

    def _due(self, envelope: Envelope, state: RunState) -> bool:
        if self._figures_at is None or (state.plan is not None and state.training.step >= state.plan.last_step):
            return True
        return (
            not 0 <= envelope.wall_seconds - self._figures_at < self._every_seconds
        )  # also when the clock was set back

    def _figures(self, now_seconds: float, state: RunState) -> None:
        self._figures_at, self._figures_of = now_seconds, state.training.step
        self._line("  ".join(part.text for part in parts_of(state)), now_seconds, state)

    def _line(self, text: str, now_seconds: float, state: RunState) -> None:
        self._output.write(f"{clock(now_seconds - state.started_seconds if state.plan else 0.0)}  {text}\n")
