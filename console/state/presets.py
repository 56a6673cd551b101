"""Where configurations and data begin: presets, files of a folder, names for new ones. Pure but for reading folders."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from console.state.figures import size
from runtime.config.schema import Config

DATA_ENDINGS = (".jsonl", ".json", ".parquet", ".csv")
QUICKSTART_DATA = ("quickstart-train.jsonl", "quickstart-heldout.jsonl")
MOST_FILES = 200
PACKAGE = Path(__file__).resolve().parents[1]
"""`console`, wherever it is installed."""
_SKIPPED = {"runs", "node_modules", "__pycache__", "site-packages"}


class Preset(NamedTuple):
    """A configuration to begin with."""

    name: str
    about: str
    """Its first comment line."""
    path: Path | None
    """None: every key at its default, each with its comment."""


def shipped_folder(package: Path = PACKAGE) -> Path:
    """The presets that come with the program: `configs` of its repository, which a wheel carries inside the package."""
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "configs"


def presets_in(folder: Path) -> list[Preset]:
    """The configurations of a folder by name, those to begin with first; then the file with every key."""
    first = ("quickstart", "sft-lora", "pretrain")
    found = [Preset(path.stem, _first_comment(path), path) for path in sorted(folder.glob("*.toml"))]
    rank = {name: place for place, name in enumerate(first)}
    found = [preset for preset in found if preset.name != "full"]
    found.sort(key=lambda preset: (rank.get(preset.name, len(first)), preset.name))
    return [*found, Preset("every-key", "Every key at its default, with a comment.", None)]


def configs_in(folder: Path) -> list[Path]:
    """The TOML files of a folder that look like configurations: they have one of its tables."""
    return [path for path in sorted(folder.glob("*.toml")) if _is_config(path)]


def text_of(preset: Preset) -> str:
    """The preset's text. Raises OSError."""
    from runtime.config.save import template

    return template() if preset.path is None else preset.path.read_text(encoding="utf-8")


def data_files(folder: Path) -> list[Path]:
    """Files around that could hold samples, those near the top first; hidden folders and runs are passed over."""
    found: list[Path] = []
    for path in _walk(folder, depth=3):
        found.append(path)
        if len(found) == MOST_FILES:
            break
    return found


def in_words(path: Path, folder: Path) -> str:
    """`data/train.jsonl   4.1 MB`."""
    return f"{path.relative_to(folder)}   {size(path.stat().st_size)}"


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """`quickstart.toml`, or `quickstart-2.toml` where that is taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.removesuffix(".toml")).strip("-.") or "run"
    names = set(taken)
    number, name = 1, f"{stem}.toml"
    while name in names:
        number += 1
        name = f"{stem}-{number}.toml"
    return name


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path.suffix.lower() in DATA_ENDINGS and path.is_file():
            yield path
    if depth:
        for path in entries:
            if path.is_dir() and not path.name.startswith(".") and path.name not in _SKIPPED:
                yield from _walk(path, depth - 1)


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _is_config(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:100_000]
    except OSError:
        return False
    return re.search(r"^\s*\[+(train|model|data|optim)\b", text, re.MULTILINE) is not None


def missing_files(config: Config, base: Path) -> list[str]:
    """What the configuration reads and is not there, in a sentence each; `base` is the folder of its file."""
    named = [(f"data.source[{number}].path", source.path) for number, source in enumerate(config.data.sources)]
    named.append(("data.eval.path", config.data.evaluation.path))
    return [f"{name}: there is no {path}" for name, path in named if path and not _is_there(path, base)]


def copy_quickstart_data(folder: Path) -> Path:
    """Put the quickstart's data into `folder`/data, where its configuration looks for them. Raises OSError."""
    place = folder / "data"
    place.mkdir(exist_ok=True)
    for name in QUICKSTART_DATA:
        shutil.copyfile(shipped_folder() / "data" / name, place / name)
    return place / QUICKSTART_DATA[0]


def _is_there(path: str, base: Path) -> bool:
    if path.startswith("hf:"):
        return True
    place = base / Path(path).expanduser()
    if any(letter in path for letter in "*?["):
        return any(glob.iglob(str(place), recursive=True))
    return place.exists()
