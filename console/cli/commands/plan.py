"""`mlx-distributed plan CONFIG`: what a run needs per device, without starting anything."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from console.cli.configured import add_config, add_workers, overrides_of

HELP = "what a run needs per device, before anything is started: memory, stages, schedule"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, what may be said instead of in it, and the form of the answer."""
    add_config(parser)
    add_workers(parser)
    parser.add_argument("--memory-gb", metavar="GB", type=float, help="memory of a device that stages must fit into")
    parser.add_argument("--schedule-csv", metavar="FILE", type=Path, help="write the pipeline's schedule, all actions")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print the plan; 0."""
    from runtime.app.plan import plan_of, write_schedule
    from runtime.plan.plan import as_json, lines

    memory_bytes = float("inf") if args.memory_gb is None else 1e9 * args.memory_gb
    plan = plan_of(args.config, overrides_of(args), memory_bytes)
    if args.schedule_csv is not None:
        write_schedule(plan, args.schedule_csv)
        print(f"wrote {args.schedule_csv}", file=sys.stderr)
    print(json.dumps(as_json(plan), indent=2) if args.json else "\n".join(lines(plan)))
    return 0
