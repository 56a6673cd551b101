"""`mlx-distributed evaluate RUN_OR_MODEL CONFIG`: held-out loss and scores of a run's checkpoint or a model folder.

One process, nothing supervised. The configuration says what is held out and what is measured; the model comes from the
first argument, whatever [model] says.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.configured import add_set

if TYPE_CHECKING:
    from runtime.app.judging import Judgement

HELP = "held-out loss and scores of a run's checkpoint or of a model folder"
SAMPLES_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the configuration, and the form of the answer."""
    parser.add_argument("source", metavar="RUN_OR_MODEL", type=Path, help="a run's folder, or one with config.json")
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a .toml file with [data.eval] and [eval]")
    parser.add_argument(
        "--step", type=int, metavar="N", help="this checkpoint of the run instead of the newest good one"
    )
    add_set(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object, with every answer, instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print the scores.

    Raises UsageError and ConfigError before anything is loaded, CheckpointError without a good checkpoint, ModelError
    and DataError.
    """
    from console.cli.serve import model_folder
    from runtime.app.anchor import anchored
    from runtime.config.load import resolve
    from runtime.models.blas import load_blas

    config = anchored(resolve(args.config, args.overrides).config, args.config.parent)
    with model_folder(args.source, args.step, doing="evaluating") as folder:
        load_blas()  # before mlx is imported, or it finds the slow one
        from runtime.app.judging import judge

        judgement = judge(config, folder)
    print(json.dumps(as_json(judgement), indent=2) if args.json else "\n".join(lines(judgement)))
    return 0


def lines(judgement: Judgement) -> list[str]:
    """The judgement for a person: one line for each number, then a few answers."""
    from console.state.figures import duration, shortened

    rows = [f"{name:<40}{value:.4f}" for name, value in judgement.metrics.items()]
    counted = f"{judgement.tokens} tokens and {len(judgement.answers)} answers in {duration(judgement.seconds)}"
    samples = (
        f'"{shortened(one.prompt, 60)}" -> "{shortened(one.answer, 60)}" (expected "{shortened(one.expected, 60)}")'
        for one in judgement.answers[:SAMPLES_SHOWN]
    )
    return [*rows, counted, *samples]


def as_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement as plain JSON values; numbers that JSON lacks are texts."""
    metrics = {name: value if math.isfinite(value) else str(value) for name, value in judgement.metrics.items()}
    answers = [
        {"index": one.index, "prompt": one.prompt, "expected": one.expected, "answer": one.answer}
        for one in judgement.answers
    ]
    return {"metrics": metrics, "tokens": judgement.tokens, "seconds": judgement.seconds, "answers": answers}
