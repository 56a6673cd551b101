"""`mlx-distributed audit RUN`: what its journal proves about the samples, and what it survived."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.events.audit import Audit
    from runtime.events.ledger_samples import ReadingOrder

HELP = "prove from a run's journal that every sample was trained on exactly once"

PROVEN, NOT_PROVEN = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, e.g. runs/quickstart; it may be running")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print what the run did and the verdict: 0 proven, 1 not proven.

    Raises UsageError if RUN has no journal, RunFolderError if it cannot be read.
    """
    audit = audited(args.run)
    if args.json:
        from dataclasses import asdict

        derived = {"proven": audit.proven, "epochs": audit.epochs}
        print(json.dumps(derived | asdict(audit), indent=2))
    else:
        print("\n".join(lines(audit)))
    return PROVEN if audit.proven else NOT_PROVEN


def audited(run_folder: Path) -> Audit:
    """The audit of a run's folder. Raises UsageError if it has no journal, RunFolderError if that cannot be read."""
    from runtime.errors import RunFolderError, UsageError
    from runtime.events.ledger import audit_journal
    from runtime.events.replay import JournalReader

    journal = run_folder / "events.jsonl"
    if not journal.is_file():
        raise UsageError(f"{run_folder} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart")
    try:
        return audit_journal(JournalReader(journal), reading_order(run_folder / "config.toml"))
    except OSError as error:
        raise RunFolderError(f"{journal} cannot be read: {error.strerror}") from error


def reading_order(config_path: Path) -> ReadingOrder | None:
    """How far the run's data order moves samples; None where its configuration cannot be read."""
    from runtime.config.load import load_config
    from runtime.errors import ConfigError
    from runtime.events.ledger_samples import ReadingOrder

    try:
        config = load_config(config_path)
    except (ConfigError, OSError):
        return None
    window = config.data.window if config.data.batching == "bucket" else 1
    epochs = 0.0 if config.train.steps else config.train.epochs
    return ReadingOrder(window * config.train.global_batch_size, epochs, config.data.mixing == "weighted")


def lines(audit: Audit) -> list[str]:
    """The audit for a person: what was done, what was survived, notes, violations, and the verdict last."""
    survived = [_counted(kind, times) for kind, times in audit.faults.items() if times]
    rows = [
        ("steps", f"{audit.steps} ({audit.first_step} to {audit.last_step})" if audit.steps else "none"),
        ("samples", f"{audit.samples} ({audit.epochs:.2f} epochs of {audit.samples_in_epoch})"),
        ("sessions", f"{audit.sessions}, with {audit.generations} generations"),
        ("done twice", f"{audit.repeated} of {audit.committed} commits are void"),
        ("survived", ", ".join(survived) or "nothing had to be survived"),
        *(("note", note) for note in audit.notes),
        *(("violation", violation) for violation in audit.violations),
    ]
    return [*(f"{name:<12}{value}" for name, value in rows), verdict(audit)]


def verdict(audit: Audit) -> str:
    """The answer in one line."""
    if audit.proven:
        mixed = any("mixed by weight" in note for note in audit.notes)
        what = "every step's samples were" if mixed else "every sample was"
        when = "" if mixed else " in its epoch"
        return f"proven: {what} trained on exactly once{when}, over {audit.steps} steps"
    count = len(audit.violations)
    return f"not proven: {count} violation{'' if count == 1 else 's'}"


def _counted(kind: str, times: int) -> str:
    """`1 worker lost`, `3 workers lost`."""
    noun, _, rest = kind.partition(" ")
    if times == 1:
        noun = noun.removesuffix("s")
        if not rest or rest == "restarts":
            rest = rest.removesuffix("s")
    return f"{times} {noun} {rest}".rstrip()
