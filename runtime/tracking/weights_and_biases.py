"""Weights & Biases: one writer of reduced metrics, and with `log = "per_rank"` a run for each rank in the same group.

Any call may take for ever and may raise anything: it talks to a service that talks to the network. So none of this
runs where a run could wait for it; see `runtime.app.tracker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.config.tracking import WandbSettings
from runtime.ids import Rank
from runtime.tracking.history import STEP, Answers, Artifact, Entry, Row
from runtime.tracking.progress import FOLDER_NAME


@dataclass
class WeightsAndBiases:
    """The writer. `load` and `start` once, `log` in order, `finish` once; all of them block."""

    settings: WandbSettings
    run_folder: Path
    name: str
    id: str
    """The same for every session of a run, so that a resumed one goes on with the same curves."""
    config: Mapping[str, Any]
    """The run's whole configuration."""
    best: tuple[str, str] = ("eval/loss", "min")
    """A metric, and whether its `min` or its `max` is what counts."""
    _wandb: Any = None
    _main: Any = None
    _ranks: dict[Rank, Any] = field(default_factory=dict)

    def load(self) -> None:
        """Import wandb, which alone takes seconds."""
        import wandb

        self._wandb = wandb

    def start(self) -> None:
        """Open the main run."""
        (self.run_folder / FOLDER_NAME).mkdir(parents=True, exist_ok=True)
        self._main = self._open(self.id, self.name, "train")

    def log(self, entry: Entry) -> None:
        """Take one entry."""
        match entry:
            case Row(values, None):
                self._main.log(dict(values))
            case Row(values, rank) if rank is not None:
                self._of(rank).log(dict(values))
            case Answers(step, rows):
                table = self._wandb.Table(columns=["step", "prompt", "expected", "answer"])
                for row in rows:
                    table.add_data(step, *row)
                self._main.log({STEP: step, "eval/samples": table})
            case Artifact():
                self._upload(entry)

    def finish(self, exit_code: int) -> None:
        """Close every run; 0 is a run that ended well."""
        for run in (*self._ranks.values(), self._main):
            run.finish(exit_code=exit_code)

    def _open(self, identity: str, name: str, job_type: str) -> Any:
        settings = self.settings
        run = self._wandb.init(
            project=settings.project,
            entity=settings.entity or None,
            group=settings.group or self.name,
            job_type=job_type,
            name=name,
            id=identity,
            resume="allow" if settings.mode == "online" else None,  # without a network there is nothing to resume
            mode=settings.mode,
            tags=list(settings.tags),
            config=dict(self.config),
            dir=str(self.run_folder / FOLDER_NAME),
            reinit="create_new",
            settings=self._wandb.Settings(console="off", disable_git=True, init_timeout=float(settings.init_timeout_s)),
        )
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        for metric, summary in dict([("eval/loss", "min"), self.best]).items():
            run.define_metric(metric, step_metric=STEP, summary=summary)
        return run

    def _of(self, rank: Rank) -> Any:
        if rank not in self._ranks:
            self._ranks[rank] = self._open(f"{self.id}-rank-{rank}", f"{self.name} rank {rank}", f"rank-{rank}")
        return self._ranks[rank]

    def _upload(self, entry: Artifact) -> None:
        """Upload a checkpoint, unless the run has removed it since."""
        folder = self.run_folder / entry.path
        if not folder.is_dir():
            return
        metadata = {"step": entry.step, **entry.metrics}
        artifact = self._wandb.Artifact(f"{self.id}-checkpoint", type="model", metadata=metadata)
        artifact.add_dir(str(folder))
        self._main.log_artifact(artifact, aliases=list(entry.aliases))
