"""Everything that a worker needs before it joins: model, data, optimizer, compiled functions."""

from __future__ import annotations

import logging
import math
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlx.core as mx

from runtime.app.staging import stage_of
from runtime.app.workforce import workers_of
from runtime.cluster.loss_scale import LossScale
from runtime.cluster.slices import SLICES
from runtime.config.model import ModelSettings
from runtime.config.schema import Config
from runtime.data.batches import Shaping, padded_tokens
from runtime.data.dataset import Datasets, add_to_quarantine, load_datasets, write_quarantine
from runtime.data.feeder import Feeder
from runtime.data.mixing import mixed_order
from runtime.data.order import ENDLESS, Order, SampleOrder, WindowedOrder
from runtime.data.plan import BatchPlan
from runtime.data.streaming import open_datasets
from runtime.errors import ModelError, RunFolderError, UsageError
from runtime.models import blueprint as blueprints
from runtime.models.adapter import adapter_config
from runtime.models.device import DeviceKind, compile_supported, default_kind
from runtime.models.load import Loaded, load_model
from runtime.models.packed import refuse_unpackable
from runtime.models.tokenizer import json_bytes
from runtime.pipeline.partition import NoPartition
from runtime.plan.plan import Plan, make
from runtime.trainer.evaluate import HeldOut
from runtime.trainer.gradients import Tree, trainable
from runtime.trainer.memory import usable_bytes
from runtime.trainer.precision import precision_of
from runtime.trainer.replica import Replica
from runtime.trainer.update import Update

COMPILED_ON_CPU_FROM_STEPS = 2000
LOG = logging.getLogger("mlx-distributed")


@dataclass(frozen=True)
class Equipment:
    """What a worker is made of, minus its network."""

    config: Config
    loaded: Loaded
    datasets: Datasets
    replica: Replica
    held_out: HeldOut
    host: str
    device: str
    planned_bytes: int = 0
    """What the plan says that MLX must hold on this device; 0: nothing is planned."""

    @property
    def summary(self) -> str:
        """One line for the log: model, device, data."""
        model = self.loaded.config.get("model_type", "model")
        stage = "" if self.replica.stage is None else f" ({self.replica.stage.words})"
        return f"{model} with {self.elements} trained parameters{stage} on {self.device}; {self.datasets.report}"

    @property
    def samples_in_epoch(self) -> int:
        """Training samples."""
        return len(self.datasets.train)

    @property
    def elements(self) -> int:
        """Length of the flat gradient."""
        return self.replica.update.layout.size

    @property
    def shards(self) -> int:
        """Logical shards in use."""
        return min(self.config.parallel.logical_shards, self.config.train.global_batch_size)

    @property
    def order(self) -> Order:
        """Which training sample stands where in the run's stream."""
        data, seed = self.config.data, self.config.run.seed
        if len(self.datasets.train) >= ENDLESS:
            return WindowedOrder(seed, data.window * self.config.train.global_batch_size, data.shuffle)
        if data.mixing == "concat":
            return SampleOrder(seed, len(self.datasets.train), data.shuffle)
        weights, names = [one.weight for one in data.sources], [one.path for one in data.sources]
        return mixed_order(seed, self.datasets.source_sizes, weights, names, shuffle=data.shuffle)

    def feeder(self) -> Feeder:
        """A feeder over the training data."""
        config, train = self.config, self.datasets.train
        total = None if config.train.steps else math.ceil(config.train.epochs * len(train))
        plan = BatchPlan(
            self.order,
            train.lengths,
            config.train.global_batch_size,
            config.data.window if config.data.batching == "bucket" else 1,
            total,
        )
        shaping = Shaping(
            config.train.micro_batch_size,
            config.data.pad_multiple,
            config.run.deterministic,
            config.data.tokens_per_batch,
            padded_tokens(config.data.max_length, config.data.pad_multiple) if config.data.batching == "pack" else 0,
        )
        return Feeder(train, plan, shaping, prefetch=config.data.prefetch)


def describe(run_folder: Path, settings: ModelSettings, loaded: Loaded, datasets: Datasets) -> None:
    """Leave in the run folder what an export needs besides weights, and which records were not taken."""
    folder = run_folder / "model"
    contents = {"config.json": json_bytes(loaded.config), **loaded.folder_files}
    if loaded.base_hash:
        about = adapter_config(loaded.model, settings.adapter) | {"model": settings.path}
        contents["adapter_config.json"] = json_bytes(about)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial = folder / f"{name}.tmp"
            partial.write_bytes(content)
            partial.replace(folder / name)
        write_quarantine(run_folder / "data" / "quarantine.jsonl", datasets.quarantined)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written: {error.strerror}; free space or change its rights"
        ) from error


def compiles(config: Config, kind: DeviceKind, samples_in_epoch: int) -> bool:
    """Whether steps are compiled, the same for every worker of a run. On a CPU only in a run of many steps.

    There mlx starts g++ for every fused kernel: 22 s of processor time for the 26 kernels of a four-layer llama, on
    each worker, before anything is trained (they are cached in the temporary folder afterwards). A step gets 4 to 6 %
    faster (best of forty: 382 against 401 ms; 621 against 662 ms in micro-batches of four rows), so it takes about a
    thousand steps to earn that back.
    """
    if not config.train.compile:
        return False
    steps = config.train.steps or math.ceil(config.train.epochs * samples_in_epoch / config.train.global_batch_size)
    return kind is not DeviceKind.CPU or (steps >= COMPILED_ON_CPU_FROM_STEPS and compile_supported())


def prepare(config: Config, run_folder: Path, rank: int) -> Equipment:
    """Load and build everything. Call it on the thread that will own mlx, after `load_blas`. Raises RunError."""
    stages = config.parallel.pipeline
    loaded = load_model(config.model, config.run.seed, settle=stages == 1)
    if config.data.batching == "pack":
        refuse_unpackable(loaded.model, str(loaded.config.get("model_type")))
    datasets = _datasets(config, loaded, run_folder)
    compiled = compiles(config, default_kind(), len(datasets.train))
    if not compiled:
        mx.disable_compile()  # mlx_lm compiles pieces of its own
    if rank == 0:
        describe(run_folder, config.model, loaded, datasets)
    plan = _plan(config, loaded)
    loaded.model.train()
    precision = precision_of(config.model.dtype, default_kind())
    compute = precision.compute if precision.compute != precision.storage else None
    stage, own = None, trainable(loaded.model)
    if stages > 1:
        recompute = config.train.grad_checkpoint
        stage = stage_of(loaded.model, plan, rank % stages, compute=compute, recompute=recompute)
        own = {name: value for name, value in own.items() if name in stage.owned}
    names = frozenset(own)  # the arrays themselves must have no second name
    update = Update(own, config.optim, config.train.max_grad_norm, compiled=compiled)
    shards = min(config.parallel.logical_shards, config.train.global_batch_size)

    adapter = trainable(loaded.model) if loaded.base_hash else None  # small: kept rather than built over a second base

    def rebuild() -> Tree:
        fresh = adapter or trainable(load_model(config.model, config.run.seed, settle=stages == 1).model)
        return {name: value for name, value in fresh.items() if name in names}

    slices = SLICES if config.parallel.shard_optimizer else 0
    loss_scale = LossScale.configured(config.model.dtype, config.optim.loss_scale)
    replica = Replica(
        loaded.model,
        rebuild,
        update,
        shards,
        config.run.deterministic,
        compiled,
        compute=compute,
        loss_scale=loss_scale,
        seed=config.run.seed,
        base_hash=loaded.base_hash,
        slice_count=slices,
        recompute=config.train.grad_checkpoint,
        memory_bytes=usable_bytes(),
        stage=stage,
    )
    held_out = HeldOut(config, datasets, loaded.tokenizer)
    kind, planned_bytes = default_kind().value, 0 if plan is None else plan.devices[rank % stages].peak_bytes
    return Equipment(config, loaded, datasets, replica, held_out, socket.gethostname(), kind, planned_bytes)


def _datasets(config: Config, loaded: Loaded, run_folder: Path) -> Datasets:
    if not config.data.streaming:
        return load_datasets(config.data, loaded.tokenizer, seed=config.run.seed)
    return open_datasets(
        config.data,
        loaded.tokenizer,
        window=config.data.window * config.train.global_batch_size,
        workers=workers_of(config),
        report=partial(add_to_quarantine, run_folder / "data" / "quarantine.jsonl"),
        say=LOG.info,
    )


def _plan(config: Config, loaded: Loaded) -> Plan | None:
    """What the run will need; None for a model that has no plan. Raises UsageError for a pipeline that cannot be."""
    itemsize = precision_of(config.model.dtype, default_kind()).compute.size
    try:
        blueprint = blueprints.describe(loaded.model, loaded.config, itemsize)
    except ModelError:
        return None
    try:
        return make(config, blueprint, workers_of(config))
    except NoPartition as error:
        raise UsageError(f"parallel.pipeline = {config.parallel.pipeline}: {error}") from error
