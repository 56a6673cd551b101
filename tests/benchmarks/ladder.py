"""What the explosion ladder does: python -P -m tests.benchmarks.ladder [--json] [--curves N]

Two workers train a tiny model in this process, each for real; one device computes a NaN once and a ten-thousandfold
gradient once, then one batch does so whoever computes it. Printed are the facts, as lines or as JSON. With --curves,
N random healthy curves are judged instead, and the false alarms counted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import trio

from console.state.notable import line_of
from runtime.events import (
    DataSuspected,
    DeviceSuspected,
    Envelope,
    GradientClipped,
    RolledBack,
    RunState,
    StepAborted,
    StepCommitted,
    fold,
    to_json,
)
from runtime.ids import ActorPath
from tests.support.spoiled_run import Faults, SpoiledRun
from tests.support.tiny import GLOBAL_BATCH, write_tiny_config
from tests.unit.cluster.test_explosion import Curve, healthy

STEPS, ZSCORE = 40, 6.0
SHOWN = (DataSuspected, DeviceSuspected, GradientClipped, RolledBack, StepAborted)


async def spoiled(folder: Path) -> SpoiledRun:
    """The run with both faults, once on a device and once in the data."""
    data = {"max_length": 128, "batching": "pad", "source": [{"path": str(folder / "train.jsonl")}]}
    write_tiny_config(folder, steps=STEPS, extra={"train": {"spike_zscore": ZSCORE}, "data": data})
    faults = Faults({(1, 28): math.nan, (0, 31): 1e4}, {33 * GLOBAL_BATCH: math.nan, 35 * GLOBAL_BATCH: 1e4})
    return await SpoiledRun(folder, faults).run()


def curves(count: int) -> dict[str, float]:
    """How often healthy curves of 250 steps are clipped, suspected or sent back."""
    found = [Curve() for _ in range(count)]
    back = 0
    for seed, curve in enumerate(found):
        for loss, norm in healthy(seed, 250):
            curve.go(loss, norm)
        back += bool(curve.trouble)
    steps = 250 * count
    clipped, suspected = sum(curve.clipped for curve in found), sum(curve.disproportionate for curve in found)
    return {"curves": count, "sent_back": back, "suspected": suspected, "clipped_per_step": clipped / max(steps, 1)}


def main() -> None:
    """Print what happened; exit 1 where the audit refuses the run."""
    parser = argparse.ArgumentParser(prog="ladder", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--curves", type=int, default=0)
    args = parser.parse_args()
    if args.curves:
        found = curves(args.curves)
        print(json.dumps(found) if args.json else ", ".join(f"{name} {value:g}" for name, value in found.items()))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = trio.run(spoiled, Path(folder))
    audit, state, lines = run.audit(), RunState(), list[str]()
    for seq, event in enumerate(run.events, 1):
        envelope = Envelope(seq, 1e9, ActorPath("run"), event)
        state = fold(state, envelope)
        skipped = isinstance(event, StepCommitted) and not event.applied
        if isinstance(event, SHOWN) or skipped:
            lines.append(json.dumps(to_json(event)) if args.json else line_of(envelope, state))
    print("\n".join(lines))
    last = run.of(StepCommitted)[-1]
    end = {"outcome": run.ended.outcome if run.ended else "", "proven": audit.proven, "steps": audit.steps}
    print(json.dumps({**end, "loss": last.loss}) if args.json else f"{end}, last loss {last.loss:.4f}")
    sys.exit(0 if audit.proven else 1)


if __name__ == "__main__":
    main()
