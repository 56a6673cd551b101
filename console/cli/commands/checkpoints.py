"""`checkpoints list|verify|export|prune|pin|delete RUN`: what was saved, is it whole, and how to get it out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from runtime.checkpoint.manifest import Manifest
    from runtime.checkpoint.retention import Keeping
    from runtime.ids import Step

_Parser = TypeVar("_Parser", bound=argparse.ArgumentParser)

HELP = "list, verify, export, prune, pin or delete the checkpoints of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    commands = parser.add_subparsers(
        dest="checkpoints_command", required=True, metavar="list|verify|export|prune|pin|delete"
    )
    listing = _subcommand(commands, "list", "what was saved, oldest first, from the manifests alone")
    listing.set_defaults(act=_list)
    verify = _subcommand(commands, "verify", "compare every byte with the manifests; one parameter hash per checkpoint")
    verify.set_defaults(act=_verify)
    export = _subcommand(
        commands, "export", "write a model folder, or an adapter's, that mlx_lm.load and mlx_lm.generate open"
    )
    export.set_defaults(act=_export)
    which = export.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, metavar="N", help="the checkpoint of this step (default: the newest)")
    which.add_argument("--best", action="store_true", help="the best one by checkpoint.metric of the run")
    export.add_argument("target", type=Path, metavar="TARGET", help="a folder that does not exist yet, or is empty")
    export.add_argument("--fuse", action="store_true", help="an adapter and its base as one model folder")
    export.add_argument("--dequantize", action="store_true", help="with --fuse: not quantised again")
    prune = _subcommand(
        commands, "prune", "delete old checkpoints by the run's rule; never the newest, never a pinned one"
    )
    prune.set_defaults(act=_prune)
    prune.add_argument(
        "--keep", "--keep-last", dest="keep", type=int, metavar="N",
        help="how many of the newest stay (default: the run's rule)",
    )  # fmt: skip
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    pin = _subcommand(commands, "pin", "keep a checkpoint whatever the run's rule says; --off undoes it")
    pin.set_defaults(act=_pin)
    pin.add_argument("--off", action="store_true", help="the rule counts for it again")
    delete = _subcommand(commands, "delete", "delete one checkpoint; never the newest, never a pinned one")
    delete.set_defaults(act=_delete)
    for one in (pin, delete):
        one.add_argument("--step", type=int, metavar="N", required=True, help="the checkpoint of this step")


def _subcommand(commands: argparse._SubParsersAction[_Parser], name: str, help_line: str) -> _Parser:
    parser = commands.add_parser(name, help=help_line, description=help_line)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, e.g. runs/quickstart")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    return parser


def run(args: argparse.Namespace) -> int:
    """Does what the subcommand says: 0; 1 when something is broken; 2 when RUN is no folder."""
    code: int = args.act(args)
    return code


def _list(args: argparse.Namespace) -> int:
    from runtime.checkpoint.layout import PINNED_NAME
    from runtime.checkpoint.manifest import read_manifest
    from runtime.errors import CheckpointError

    found: list[dict[str, Any]] = []
    for folder in reversed(_folders(args.run)):
        try:
            manifest = read_manifest(folder)
        except CheckpointError as error:
            found.append({"step": _step(folder), "path": str(folder), "error": str(error)})
        else:
            found.append(_facts(folder, manifest) | {"pinned": (folder / PINNED_NAME).exists()})
    if args.json:
        _print_json(found)
    elif found:
        _print_table(("step", "saved", "size", "metrics", "parameter hash", ""), map(_row, found))
    else:
        print(f"{args.run} has no checkpoints", file=sys.stderr)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from runtime.checkpoint.layout import LATEST_NAME, read_latest
    from runtime.checkpoint.reader import verify
    from runtime.errors import CheckpointError

    found: list[dict[str, Any]] = []
    for folder in reversed(_some_folders(args.run)):
        try:
            manifest = verify(folder)
        except CheckpointError as error:
            if folder.exists():  # else the run itself deleted it while we were reading
                found.append({"step": _step(folder), "path": str(folder), "ok": False, "error": str(error)})
        else:
            found.append(_facts(folder, manifest) | {"ok": True})
    whole = all(each["ok"] for each in found)
    try:
        read_latest(args.run / "checkpoints")
    except (CheckpointError, OSError) as error:
        print(f"{args.run / 'checkpoints' / LATEST_NAME}: {error}; the next start of the run mends it", file=sys.stderr)
        whole = False
    if args.json:
        _print_json(found)
    else:
        rows = ((str(each["step"]), each.get("parameter_hash", ""), each.get("error", "whole")) for each in found)
        _print_table(("step", "parameter hash", ""), rows)
    return 0 if whole else 1


def _export(args: argparse.Namespace) -> int:
    from runtime.checkpoint.manifest import read_manifest
    from runtime.checkpoint.refusals import BrokenCheckpoint
    from runtime.errors import CheckpointError, UsageError

    if args.dequantize and not args.fuse:
        raise UsageError("--dequantize goes with --fuse: an adapter itself is not quantised")
    for folder in _candidates(args):
        try:
            size_bytes, kind = _exported(args, folder)
        except BrokenCheckpoint as error:
            print(f"{folder} is broken and passed over: {error}", file=sys.stderr)
            continue
        manifest = read_manifest(folder)
        facts = {"step": manifest.step, "path": str(args.target), "size_bytes": size_bytes, "kind": kind}
        if args.json:
            _print_json(facts | {"parameter_hash": manifest.parameter_hash})
        else:
            print(f"{args.target}: {kind} of step {manifest.step}, {_megabytes(size_bytes)}")
        return 0
    wanted = "no checkpoint" if args.step is None else f"no checkpoint of step {args.step}"
    raise CheckpointError(
        f"{args.run} has {wanted} that could be exported; "
        f"`mlx-distributed checkpoints list {args.run}` shows what there is"
    )


def _exported(args: argparse.Namespace, folder: Path) -> tuple[int, str]:
    """(bytes of the weights, what it is in words). Raises like `export` and `fuse`."""
    from runtime.checkpoint.export import MODEL_FOLDER_NAME, export, export_adapter
    from runtime.checkpoint.manifest import read_manifest
    from runtime.models.blas import load_blas

    model_folder = args.run / MODEL_FOLDER_NAME
    if not (base := read_manifest(folder).provenance.base):
        return export(folder, model_folder, args.target), "model"
    load_blas()  # before the first import of mlx
    if not args.fuse:
        return export_adapter(folder, model_folder, args.target), f"adapter over {base}"
    from runtime.checkpoint.fuse import fuse
    from runtime.config.load import load_config

    config = load_config(args.run / "config.toml")
    done = fuse(folder, config.model, config.run.seed, args.target, dequantize=args.dequantize)
    return sum(each.stat().st_size for each in args.target.glob("*.safetensors")), f"model ({done})"


def _candidates(args: argparse.Namespace) -> Sequence[Path]:
    """The folders to try, the preferred one first."""
    folders = _some_folders(args.run)
    if args.step is not None:
        return [folder for folder in folders if _step(folder) == args.step]
    if not args.best:
        return folders
    from runtime.checkpoint.layout import folder_name
    from runtime.checkpoint.retention import best, saved_in
    from runtime.errors import CheckpointError

    keeping = _rule(args.run)
    ranked = best(saved_in(args.run / "checkpoints"), keeping)
    if not ranked:
        raise CheckpointError(
            f"no checkpoint of {args.run} was measured by {keeping.metric}; set eval.every, or name one with --step"
        )
    return [args.run / "checkpoints" / folder_name(step) for step in ranked]


def _prune(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from runtime.checkpoint.durable import explain
    from runtime.checkpoint.reader import verify
    from runtime.checkpoint.refusals import BrokenCheckpoint
    from runtime.checkpoint.retention import prune
    from runtime.errors import CheckpointError, UsageError

    if args.keep is not None and args.keep < 1:
        raise UsageError(f"--keep {args.keep}: at least the newest one stays; say 1 or more")
    newest = _some_folders(args.run)[0]
    try:
        verify(newest)
    except BrokenCheckpoint as error:
        raise CheckpointError(
            f"{newest} is broken ({error}), so an older one may be needed: nothing was deleted; start the run, "
            "which sets it aside, and prune then"
        ) from error
    keeping = _rule(args.run)
    if args.keep is not None:
        keeping = replace(keeping, keep_last=args.keep)
    removed: list[dict[str, Any]] = []

    def note(step: Step, folder: Path) -> None:
        removed.append({"step": step, "path": str(folder)})
        if not args.json:
            print(f"{folder}: {'would be deleted' if args.dry_run else 'deleted'}")

    try:
        with nullcontext() if args.dry_run else _owned(args.run):
            prune(newest.parent, keeping, on_removed=note, dry_run=args.dry_run)
    except OSError as error:
        raise CheckpointError(f"not everything could be deleted: {explain(error, newest.parent)}") from error
    if args.json:
        _print_json({"dry_run": args.dry_run, "removed": removed})
    return 0


def _pin(args: argparse.Namespace) -> int:
    from runtime.checkpoint.durable import explain
    from runtime.checkpoint.layout import PINNED_NAME
    from runtime.errors import CheckpointError

    mark = _of_step(args) / PINNED_NAME
    try:
        mark.unlink(missing_ok=True) if args.off else mark.touch()
    except OSError as error:
        raise CheckpointError(f"{mark} cannot be changed: {explain(error, mark.parent)}") from error
    _tell(args, mark.parent, "no longer pinned" if args.off else "pinned")
    return 0


def _delete(args: argparse.Namespace) -> int:
    from runtime.checkpoint.durable import explain
    from runtime.checkpoint.layout import PINNED_NAME, remove
    from runtime.errors import CheckpointError, UsageError

    folder = _of_step(args)
    if folder == _some_folders(args.run)[0]:
        raise UsageError(f"{folder} is the newest one, from which the run goes on; nothing was deleted")
    if (folder / PINNED_NAME).exists():
        raise UsageError(
            f"{folder} is pinned; `mlx-distributed checkpoints pin {args.run} --step {args.step} --off` first"
        )
    try:
        with _owned(args.run):
            remove(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} could not be deleted: {explain(error, folder.parent)}") from error
    _tell(args, folder, "deleted")
    return 0


def _of_step(args: argparse.Namespace) -> Path:
    """The folder of `--step`. Raises UsageError where there is none."""
    from runtime.errors import UsageError

    found = [folder for folder in _some_folders(args.run) if _step(folder) == args.step]
    if not found:
        raise UsageError(
            f"{args.run} has no checkpoint of step {args.step}; `mlx-distributed checkpoints list {args.run}`"
        )
    return found[0]


def _tell(args: argparse.Namespace, folder: Path, done: str) -> None:
    if args.json:
        _print_json({"step": args.step, "path": str(folder), "done": done})
    else:
        print(f"{folder}: {done}")


@contextmanager
def _owned(run_folder: Path) -> Iterator[None]:
    """Hold the run's lock: nobody goes on from what is being deleted. Raises CheckpointError if a run is alive."""
    from runtime.app.run_lock import RunFolderInUse, RunLock
    from runtime.errors import CheckpointError

    try:
        lock = RunLock.take(run_folder, "", f"mlx-distributed checkpoints {run_folder}")
    except RunFolderInUse as in_use:
        raise CheckpointError(
            f"{in_use}; nothing was deleted: a live run deletes old checkpoints itself, by checkpoint.keep_last"
        ) from in_use
    try:
        yield
    finally:
        lock.release()


def _rule(run_folder: Path) -> Keeping:
    """The retention rule in the run's own resolved configuration."""
    from runtime.checkpoint.retention import Keeping
    from runtime.config.load import load_config

    settings = load_config(run_folder / "config.toml").checkpoint
    return Keeping(settings.keep_last, settings.keep_best, settings.metric, settings.mode)


def _folders(run_folder: Path) -> list[Path]:
    """Checkpoint folders, newest first. Raises UsageError if RUN is none, CheckpointError if it cannot be read."""
    from runtime.checkpoint.durable import explain
    from runtime.checkpoint.layout import checkpoint_folders
    from runtime.errors import CheckpointError, UsageError

    if not run_folder.is_dir():
        raise UsageError(f"{run_folder} is no folder; RUN is a run's folder, e.g. runs/quickstart")
    try:
        return checkpoint_folders(run_folder / "checkpoints")
    except OSError as error:
        raise CheckpointError(f"cannot read {run_folder}: {explain(error, run_folder)}") from error


def _some_folders(run_folder: Path) -> list[Path]:
    from runtime.errors import CheckpointError

    folders = _folders(run_folder)
    if not folders:
        raise CheckpointError(f"{run_folder} has no checkpoints; has the run saved one yet?")
    return folders


def _step(folder: Path) -> Step | None:
    from runtime.checkpoint.layout import step_of

    return step_of(folder.name)


def _facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    metrics = {name: value if abs(value) < float("inf") else str(value) for name, value in manifest.metrics.items()}
    return {
        "step": manifest.step,
        "path": str(folder),
        "created_at": manifest.created_at,
        "size_bytes": manifest.size_bytes,
        "metrics": metrics,
        "parameter_hash": manifest.parameter_hash,
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    from datetime import datetime

    if "error" in facts:
        return str(facts["step"]), "", "", "", "", f"broken: {facts['error']}"
    saved = datetime.fromtimestamp(facts["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    metrics = " ".join(
        f"{name}={value if isinstance(value, str) else format(value, '.4g')}"
        for name, value in facts["metrics"].items()
    )
    note = "pinned" if facts["pinned"] else ""
    return str(facts["step"]), saved, _megabytes(facts["size_bytes"]), metrics, facts["parameter_hash"], note


def _megabytes(size_bytes: int) -> str:
    from runtime.checkpoint.durable import megabytes

    return megabytes(size_bytes)


def _print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Plain text in columns; the first one, a number, to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = [first.rjust(widths[0]), *(cell.ljust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
