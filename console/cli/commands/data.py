"""`mlx-distributed data preview`: what a run would train on, before anything is started: samples with their masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.configured import add_config

if TYPE_CHECKING:
    from runtime.data.dataset import Datasets, Sample

HELP = "show what a configuration trains on: samples with the learnt part marked, and what is left out"

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_REASONS = 5
"""Quarantined records that are shown; all of them are in the run's data/quarantine.jsonl."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the one subcommand."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="preview")
    help_line = "print the first samples as they are tokenised, with the learnt part marked"
    preview = commands.add_parser("preview", help=help_line, description=help_line)
    add_config(preview)
    preview.add_argument("--samples", type=int, default=1, metavar="N", help="how many samples (default: %(default)s)")
    preview.add_argument("--json", action="store_true", help="one JSON object instead of text")
    preview.add_argument(
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        help="learnt text on green; auto: on a terminal without NO_COLOR; otherwise it stands in \u27e6 \u27e7",
    )


def run(args: argparse.Namespace) -> int:
    """Read the data as a run would and show them: 0. Raises what a run would fail with: ConfigError, RunError."""
    import json

    from runtime.app.anchor import anchored
    from runtime.config.load import load_config
    from runtime.data.dataset import load_datasets
    from runtime.data.streaming import open_datasets
    from runtime.models.load import load_tokenizer

    config = anchored(load_config(args.config, args.overrides), args.config.parent)
    tokenizer = load_tokenizer(config.model)
    if config.data.streaming:
        window = config.data.window * config.train.global_batch_size
        datasets = open_datasets(config.data, tokenizer, window=window, examples=max(0, args.samples))
    else:
        datasets = load_datasets(config.data, tokenizer, seed=config.run.seed, examples=max(0, args.samples))
    if args.json:
        print(json.dumps(document(datasets, tokenizer), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(datasets, tokenizer, colour=in_colour(args.colour))))
    return 0


def in_colour(choice: str) -> bool:
    """Whether the learnt part is coloured."""
    import os

    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def lines(datasets: Datasets, tokenizer: Any, *, colour: bool) -> list[str]:
    """The samples and the account of the rest, for a person."""
    from runtime.data.preview import marked, pieces

    shown: list[str] = []
    for sample in datasets.examples:
        parts = pieces(sample.encoded.ids, sample.encoded.mask, tokenizer.decode)
        head = f"--- {place(sample)}: {measure(sample, tokenizer)}"
        shown += [f"{_BOLD}{head}{_PLAIN}" if colour else head, marked(parts, colour=colour).rstrip("\n")]
    report = datasets.report
    if report.streamed:
        told = [("files", ", ".join(report.files)), ("format", report.format_reason), ("samples", str(report))]
        return [*shown, "---", *(f"{name:<13}{value}" for name, value in told)]
    lost = f"{report.quarantined} quarantined, {report.dropped} dropped as too long, {report.truncated} truncated"
    rows = [
        ("files", ", ".join(report.files)),
        ("format", report.format_reason),
        ("mask", f"by {report.mask_method}"),
        ("samples", f"{report.train_samples} to train on, {report.held_out_samples} held out; {lost}"),
        ("tokens", f"{report.train_tokens}, {report.trained_tokens} of them learnt; longest sample {report.longest}"),
        *(("quarantined", f"{bad.file}:{bad.line} {bad.reason}") for bad in datasets.quarantined[:_REASONS]),
    ]
    if more := len(datasets.quarantined) - _REASONS:
        rows += [("quarantined", f"and {more} more")] if more > 0 else []
    return [*shown, "---", *(f"{name:<13}{value}" for name, value in rows)]


def document(datasets: Datasets, tokenizer: Any) -> dict[str, Any]:
    """The same for programs."""
    from dataclasses import asdict

    from runtime.data.preview import pieces

    samples = [
        {
            "file": sample.record.file,
            "line": sample.record.line,
            "tokens": len(sample.encoded.ids),
            "learnt": sum(sample.encoded.mask),
            "stop_learnt": stop_learnt(sample, tokenizer),
            "pieces": [asdict(part) for part in pieces(sample.encoded.ids, sample.encoded.mask, tokenizer.decode)],
        }
        for sample in datasets.examples
    ]
    quarantined = [asdict(bad) for bad in datasets.quarantined]
    return {"report": asdict(datasets.report), "samples": samples, "quarantined": quarantined}


def place(sample: Sample) -> str:
    """`train.jsonl:3`."""
    return f"{Path(sample.record.file).name}:{sample.record.line}"


def measure(sample: Sample, tokenizer: Any) -> str:
    """`32 tokens, 3 learnt, the last of them a stop token`."""
    end = "a stop token" if stop_learnt(sample, tokenizer) else "no stop token"
    return f"{len(sample.encoded.ids)} tokens, {sum(sample.encoded.mask)} learnt, the last of them {end}"


def stop_learnt(sample: Sample, tokenizer: Any) -> bool:
    """Whether the last learnt token ends an answer, so that the model learns to stop."""
    learnt = [token for token, bit in zip(sample.encoded.ids, sample.encoded.mask, strict=True) if bit]
    return bool(learnt) and learnt[-1] in tokenizer.eos_token_ids
