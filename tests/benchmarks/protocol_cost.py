"""What the protocol adds to a step with no faults: `python -m tests.benchmarks.protocol_cost`.

From the events of a one-worker run: the step's time minus computing and measuring the gradient and dispatching the
update, which a bare loop does as well. What is left is the order's and the vote's way, the journal, and the wait for
the batch.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.bare_loop import ONE_BLAS_THREAD, run_command, write_config

STEPS, WARM_UP = 80, 20


@dataclass(frozen=True)
class Cost:
    """Milliseconds per step."""

    median_ms: float
    best_ms: float
    step_ms: float
    """Median of the whole step."""

    @property
    def fraction(self) -> float:
        """Of the step's time."""
        return self.median_ms / self.step_ms

    def __str__(self) -> str:
        return (
            f"protocol: median {self.median_ms:.2f} ms, best {self.best_ms:.2f} ms per step of {self.step_ms:.1f} ms: "
            f"{self.fraction:.2%}"
        )


def measure(steps: int = STEPS) -> Cost:
    """Run the quickstart's model on one worker and read the journal."""
    os.environ.update(ONE_BLAS_THREAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        committed = run_command(write_config(folder), folder, steps, name="cost")[WARM_UP:]
    costs = [
        event.seconds - event.compute_seconds - event.exchange_seconds - event.apply_seconds for event in committed
    ]
    return Cost(
        median_ms=statistics.median(costs) * 1e3,
        best_ms=min(costs) * 1e3,
        step_ms=statistics.median(event.seconds for event in committed) * 1e3,
    )


if __name__ == "__main__":
    print(measure())
