"""The root of the configuration. One instance is read at the start and passed down; nobody reads the file again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.config.checkpoint import CheckpointSettings, EvalSettings
from runtime.config.cluster import ClusterSettings, ConsoleSettings, ServeSettings
from runtime.config.data import DataSettings
from runtime.config.model import ModelSettings
from runtime.config.parallel import ParallelSettings, SyncSettings
from runtime.config.run import RunSettings
from runtime.config.supervision import SupervisionSettings
from runtime.config.table import IntegerChoice, Table
from runtime.config.tracking import WandbSettings
from runtime.config.train import OptimSettings, TrainSettings


class Config(Table):
    """Everything that a run can be told. `Config()` is the default of every key."""

    schema_version: Annotated[Literal[1], Field(alias="schema"), IntegerChoice] = 1
    """version of this file's layout"""
    run: RunSettings = RunSettings()
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    optim: OptimSettings = OptimSettings()
    parallel: ParallelSettings = ParallelSettings()
    sync: SyncSettings = SyncSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    evaluation: Annotated[EvalSettings, Field(alias="eval")] = EvalSettings()
    wandb: WandbSettings = WandbSettings()
    cluster: ClusterSettings = ClusterSettings()
    console: ConsoleSettings = ConsoleSettings()
    serve: ServeSettings = ServeSettings()

    @property
    def rows_at_once(self) -> int:
        """Rows of data.max_length tokens that go through the model at once, at most."""
        tokens = self.data.tokens_per_batch
        return max(1, tokens // self.data.max_length) if tokens else self.train.micro_batch_size
