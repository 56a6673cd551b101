"""A module called `wandb` for a child process: it notes what it is told, and hangs or raises where it is asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MODULE = """
import json, os, threading

MODE, NOTES = os.environ["FAKE_WANDB"], os.environ["FAKE_WANDB_NOTES"]


def act(place, **what):
    with open(NOTES, "a") as file:
        file.write(json.dumps({"place": place, **what}) + "\\n")
    if MODE == f"{place} hangs":
        threading.Event().wait()
    if MODE == f"{place} raises":
        raise RuntimeError("no such entity\\nand more")
    if MODE == f"{place} dies":
        os._exit(3)


class Settings:
    def __init__(self, **given):
        pass


class Table:
    def __init__(self, columns):
        self.rows = [columns]

    def add_data(self, *row):
        self.rows.append(row)


class Artifact:
    def __init__(self, name, type, metadata):
        self.name, self.metadata = name, metadata

    def add_dir(self, path):
        self.files = sorted(os.listdir(path))


class Run:
    def __init__(self, id):
        self.id = id

    def define_metric(self, name, **given):
        act("define", name=name, **given)

    def log(self, values):
        act("log", run=self.id, values={k: getattr(v, "rows", v) for k, v in values.items()})

    def log_artifact(self, artifact, aliases):
        act("artifact", name=artifact.name, files=artifact.files, aliases=aliases, metadata=artifact.metadata)

    def finish(self, exit_code):
        act("finish", run=self.id, exit_code=exit_code)


def init(**given):
    given.pop("settings")
    act("init", **given)
    return Run(given["id"])


act("import")
"""


class FakeWandb:
    """Writes the module into `folder`; `mode` is `""`, or where it does what: `init hangs`, `log raises`, ..."""

    def __init__(self, folder: Path, mode: str = "") -> None:
        self._module, self._notes, self._mode = folder / "fake" / "wandb.py", folder / "told.jsonl", mode
        self._module.parent.mkdir(exist_ok=True)
        self._module.write_text(_MODULE)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a child needs to find this one instead of the real one."""
        return {"FAKE_WANDB": self._mode, "FAKE_WANDB_NOTES": str(self._notes)}

    @property
    def path(self) -> str:
        """For the front of PYTHONPATH."""
        return str(self._module.parent)

    def told(self, place: str) -> list[dict[str, Any]]:
        """Every call at this place so far, in order."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [call for call in map(json.loads, lines) if call["place"] == place]
