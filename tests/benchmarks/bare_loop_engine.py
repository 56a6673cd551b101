"""The engine alone against the bare compiled loop, a step of one and a step of the other, in one process.

    python -m tests.benchmarks.bare_loop_engine

What `bare_loop` measures between processes drowns on a machine with other work; turns of one step each do not. Left
out are the ways between processes and threads: `protocol_cost` measures these.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.cluster.messages import Verdict
from runtime.flow import Batch, CommittedStep
from runtime.ids import Cursor
from tests.benchmarks.bare_loop import ONE_BLAS_THREAD, bare_step, equipped, write_config

STEPS = 80


def compare(steps: int = STEPS) -> tuple[float, float]:
    """Seconds of the bare loop over ours, steps with a shape seen before: (median of pairs, best of each shape)."""
    os.environ.update(ONE_BLAS_THREAD)
    from runtime.models.blas import load_blas

    load_blas(1)
    pairs: dict[int, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        path = write_config(Path(name))
        equipment, batches = equipped(path, steps)
        rival, _ = equipped(path, 1)
    theirs = bare_step(rival.loaded.model, rival.config)
    ours = engine_step(equipment.replica)
    equipment.replica.begin()
    for batch in batches:
        (micro,) = batch.micros
        bare_seconds = timed(lambda: theirs(micro.tokens_BT, micro.mask_BT))  # noqa: B023 - called at once
        our_seconds = timed(lambda: ours(batch))  # noqa: B023 - called at once
        pairs.setdefault(micro.tokens_BT.shape[1], []).append((bare_seconds, our_seconds))
    known = [shape[1:] for shape in pairs.values() if len(shape) > 1]
    best = [[min(side) for side in zip(*shape, strict=True)] for shape in known]
    return (
        statistics.median(bare / our for shape in known for bare, our in shape),
        sum(bare for bare, _ in best) / sum(our for _, our in best),
    )


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def engine_step(replica: Any) -> Callable[[Batch], None]:
    """A step of one worker that is alone, without threads and without a coordinator."""
    import mlx.core as mx

    from runtime.trainer.engine import Local

    def step(batch: Batch) -> None:
        local = Local(batch.step)
        replica.add_gradients(local, batch)
        measured = replica.measure(local, None)
        tokens = sum(tally.tokens for tally in local.tallies.values())
        committed = CommittedStep(batch.step, measured.finite, tokens, 1.0, measured.square_sum**0.5 / tokens)
        replica.apply(Verdict(committed, 1e-3, batch.step), Cursor(0), {})
        mx.eval(replica.trained)  # the bare loop waits too

    return step


if __name__ == "__main__":
    median, best = compare()
    print(f"the engine reaches {median:.3f} of the bare loop's speed (median of pairs; {best:.3f} by the best steps)")
