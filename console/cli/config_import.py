"""`config import FILE`: an mlx_lm.lora configuration becomes one of ours, and what has no counterpart is said."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.config.from_mlx_lm import Imported, Surroundings
    from runtime.config.text import Document

HELP = "turn an mlx_lm.lora configuration into one of ours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and where to write."""
    parser.add_argument("lora", type=Path, metavar="LORA.yaml", help="a configuration of mlx_lm.lora")
    parser.add_argument("--output", type=Path, metavar="NEW.toml", help="write there instead of to stdout")
    parser.set_defaults(act=run)


def run(args: argparse.Namespace) -> int:
    """Write the configuration; notes go to stderr. 2 when a value of the file is none that we accept.

    Raises ConfigError for a file that cannot be read, UsageError for an output that is there already.
    """
    from runtime.config.from_mlx_lm import import_lora
    from runtime.config.text import read_document
    from runtime.errors import UsageError

    document = read_document(args.lora)
    stands = Path.cwd() if args.output is None else args.output.parent
    made = import_lora(document.raw, surroundings(document.raw, args.lora.parent, stands))
    text = written(made, args.lora, document)
    if args.output is None:
        print(text, end="")
    else:
        try:
            with args.output.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            raise UsageError(f"{args.output} is already there and stays as it is; name another file") from None
        except OSError as error:
            raise UsageError(f"{args.output} cannot be written: {error.strerror}") from None
        print(args.output)
    for line in notes(made, args.lora, document):
        print(line, file=sys.stderr)
    return _check(text)


def surroundings(raw: dict[str, Any], folder: Path, stands: Path) -> Surroundings:
    """What lies where the file's paths point: from where the user stands, as mlx-lm reads them, or else from the file.

    `stands` is the folder of the new file, from which our paths are read.
    """
    from runtime.config.from_mlx_lm import DEFAULTS, Surroundings

    def found(key: str) -> Path | None:
        name = Path(str(raw.get(key) or DEFAULTS[key])).expanduser()
        return next((place for place in (name, folder / name) if place.is_dir()), None)

    def seen(place: Path | None) -> str:
        return "" if place is None else os.path.relpath(place.absolute(), stands.absolute())

    model, data = found("model"), found("data")
    if data is None:
        name = Path(str(raw.get("data") or DEFAULTS["data"]))
        local = name.is_absolute() or len(name.parts) != 2  # a hub's name has two parts
        return Surroundings(seen(model), "", local, local)
    columns = _columns(data / "train.jsonl")
    return Surroundings(seen(model), seen(data), True, (data / "valid.jsonl").is_file(), columns)


def _columns(path: Path) -> frozenset[str]:
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next(file, "{}"))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(first) if isinstance(first, dict) else frozenset()


def written(made: Imported, path: Path, document: Document) -> str:
    """The TOML text, with the notes above it."""
    import tomli_w

    told = [f"# {line}" for line in notes(made, path, document)]
    head = [f"# From {path.name} of mlx_lm.lora. configs/full.toml explains every key.", *told, "schema = 1", "", ""]
    return "\n".join(head) + tomli_w.dumps(made.tables)


def notes(made: Imported, path: Path, document: Document) -> list[str]:
    """`lora.yaml:12 clear_cache_threshold: why, and what to do`."""
    lines = []
    for note in made.notes:
        key = tuple(note.key.split("."))
        line = next((document.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in document.lines), None)
        place = path.name if line is None else f"{path.name}:{line}"
        lines.append(f"{place} {note.key}: {note.text}")
    return lines


def _check(text: str) -> int:
    from runtime.config.load import resolve
    from runtime.errors import ConfigError

    with tempfile.TemporaryDirectory(prefix="mlx-distributed-") as folder:
        file = Path(folder) / "imported.toml"
        file.write_text(text, encoding="utf-8")
        try:
            resolve(file)
        except ConfigError as error:
            for problem in error.problems:
                print(str(problem).replace(f"{folder}/", ""), file=sys.stderr)
            return 2
    return 0
