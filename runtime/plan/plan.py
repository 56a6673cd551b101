"""The plan of a run: what each device holds, what it needs at its peak, and how a pipeline would run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from runtime.config.architectures import KNOWN_BY_NAME, NOT_PACKABLE, unpackable
from runtime.config.schema import Config
from runtime.errors import ModelError
from runtime.models.blueprint import Blueprint, Tensor
from runtime.pipeline.choice import Choice
from runtime.pipeline.costs import Calibration
from runtime.pipeline.schedules import in_flight_limit
from runtime.plan.activations import Batch, cast_bytes, footprint
from runtime.plan.memory import FLOAT32_BYTES, Held, Sharding, held
from runtime.plan.stages import chosen, micro_batches


@dataclass(frozen=True)
class DevicePlan:
    """One device: all that hold the same stage need the same."""

    stage: int
    layers: int
    held: Held
    activations_bytes: int
    """Modelled: the peak, with every micro-batch in flight."""
    in_flight: int
    """Micro-batches between their forward and their backward pass, at most; per chunk of the stage."""

    @property
    def peak_bytes(self) -> int:
        """What is there all the time, and the larger of activations and exchange, which follow each other."""
        return self.held.total_bytes + max(self.activations_bytes, self.held.exchange_bytes)


@dataclass(frozen=True)
class Plan:
    """What a run will need."""

    architecture: str
    parameters: int
    trained: int
    workers: int
    replicas: int
    """Copies of the model, or pipelines, that share the global batch."""
    micro_batches: int
    """Of one step, in each replica."""
    rows: int
    positions: int
    """The longest micro-batch: rows x positions."""
    devices: tuple[DevicePlan, ...]
    """By stage; one where there is no pipeline."""
    state_copies: int
    """How many workers keep each slice of the optimizer's state; 0: it is not sharded."""
    pipeline: Choice | None
    measured: bool
    """Whether the times of the pipeline come from a calibration; else only their ratios mean something."""


def make(
    config: Config,
    blueprint: Blueprint,
    workers: int,
    *,
    memory_bytes: float = math.inf,
    calibration: Calibration | None = None,
) -> Plan:
    """The plan of `config` on so many workers, each with `memory_bytes`.

    Raises NoPartition when a pipeline is asked for that cannot be had, ModelError when rows should be packed and the
    architecture is known not to allow it."""
    stages = config.parallel.pipeline
    replicas = max(1, workers // stages)
    pipeline = None
    if stages > 1:
        pipeline = chosen(config, blueprint, workers, memory_bytes=memory_bytes, calibration=calibration)
    if config.data.batching == "pack" and blueprint.architecture in NOT_PACKABLE:
        raise ModelError(f'{unpackable(blueprint.architecture, KNOWN_BY_NAME)}; use "bucket"')
    tensors = blueprint.once()
    return Plan(
        architecture=blueprint.architecture,
        parameters=sum(tensor.elements for tensor in tensors),
        trained=sum(tensor.elements for tensor in tensors if tensor.trained),
        workers=workers,
        replicas=replicas,
        micro_batches=micro_batches(config, replicas),
        rows=_rows(config, replicas),
        positions=config.data.max_length,
        devices=tuple(_device(config, blueprint, stage, stages, replicas, pipeline) for stage in range(stages)),
        state_copies=_sharding(config, replicas).copies if config.parallel.shard_optimizer else 0,
        pipeline=pipeline,
        measured=calibration is not None,
    )


def _device(
    config: Config, blueprint: Blueprint, stage: int, stages: int, replicas: int, pipeline: Choice | None
) -> DevicePlan:
    numbers, in_flight, chunks = tuple(range(len(blueprint.layers))), 1, 1
    if pipeline is not None:
        schedule, partition = pipeline.chosen.schedule, pipeline.chosen.partition
        numbers, chunks = partition.layers_of(stage), partition.chunks
        in_flight = in_flight_limit(schedule.name, stage, stages, schedule.micro_batches, chunks)
    layers = [blueprint.layers[number] for number in numbers]
    tensors: list[Tensor] = [tensor for layer in layers for tensor in layer]
    is_last = stage == stages - 1
    tensors += [*(blueprint.before if stage == 0 else ()), *(blueprint.behind if is_last else ())]
    batch = Batch(_rows(config, replicas), config.data.max_length)
    activations = footprint(layers, blueprint, batch, config.train.grad_checkpoint, has_head=is_last)
    return DevicePlan(
        stage,
        len(layers),
        held(
            tensors,
            config.optim.name,
            _sharding(config, replicas),
            _gradient_bytes(config, blueprint, replicas),
        ),
        activations.peak_bytes(math.ceil(in_flight / chunks)) + cast_bytes(tensors, blueprint.itemsize),
        in_flight,
    )


def _sharding(config: Config, replicas: int) -> Sharding:
    settings = config.parallel
    return Sharding(replicas, settings.shard_optimizer, settings.replicas, config.run.deterministic)


def _rows(config: Config, replicas: int) -> int:
    """Of a micro-batch: no more than a worker's part of the global batch, nor than a shard where each is summed."""
    whole = config.train.global_batch_size
    rows = min(config.rows_at_once, math.ceil(whole / replicas))
    shards = min(config.parallel.logical_shards, whole)
    return min(rows, math.ceil(whole / shards)) if config.run.deterministic else rows


def _gradient_bytes(config: Config, blueprint: Blueprint, replicas: int) -> int:
    """Per element. A sum is in float32; a single micro-batch's gradient as it was computed, but float16's, which is
    divided by its scale, and a pipeline's, which sums over its micro-batches. Where shards are summed in a tree, there
    are as many sums as it has levels above the worker's shards, beside the one that is made."""
    if config.run.deterministic:
        shards = math.ceil(min(config.parallel.logical_shards, config.train.global_batch_size) / replicas)
        return FLOAT32_BYTES * (1 + math.ceil(math.log2(shards)))
    alone = micro_batches(config, replicas) == 1 and config.parallel.pipeline == 1
    return blueprint.itemsize if alone and config.model.dtype != "float16" else FLOAT32_BYTES


def lines(plan: Plan) -> Iterator[str]:
    """The plan for a person."""
    frozen = "" if plan.trained == plan.parameters else f", {plan.trained:,} of them trained"
    yield f"model       {plan.architecture}: {plan.parameters:,} parameters{frozen}"
    step = f"{plan.micro_batches} micro-batches of up to {plan.rows} x {plan.positions} tokens"
    yield f"workers     {plan.workers}: {plan.replicas} replicas x {len(plan.devices)} stages; a step is {step} each"
    if plan.state_copies:
        yield f"optimizer   {_slices_in_words(plan.state_copies, plan.replicas)}"
    if plan.pipeline is not None:
        yield from _pipeline_lines(plan.pipeline, "measured" if plan.measured else "modelled")
    yield "memory      per device, in GB: activations modelled, all else exact; exchange follows activations"
    yield "  stage  layers  parameters  gradients  optimizer  exchange  activations    peak"
    for device in plan.devices:
        mine = device.held
        yield (
            f"  {device.stage:5d}  {device.layers:6d}  {_gb(mine.parameters_bytes):>10}  {_gb(mine.gradients_bytes):>9}"
            f"  {_gb(mine.optimizer_bytes):>9}  {_gb(mine.exchange_bytes):>8}  {_gb(device.activations_bytes):>11}"
            f"  {_gb(device.peak_bytes):>6}"
        )
    if plan.workers == 1:
        more_bytes = plan.devices[0].held.optimizer_bytes + plan.devices[0].held.parameters_bytes
        yield f"ahead       a GPU with {_gb(more_bytes)} GB more begins its updates before they are due"
    if host_bytes := max(device.held.host_bytes for device in plan.devices):
        yield f"host        {_gb(host_bytes)} GB beside each device, for what travels between workers"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for a script."""
    document = asdict(plan)
    document["devices"] = [asdict(device) | {"peak_bytes": device.peak_bytes} for device in plan.devices]
    if plan.pipeline is not None:
        one = plan.pipeline.chosen
        document["pipeline"] = {
            "schedule": one.schedule.name,
            "layers": one.partition.layers,
            "micro_batches": one.schedule.micro_batches,
            "step_s": one.simulation.step_s,
            "bubble": one.simulation.bubble,
            "peak_activations": one.simulation.peaks,
            "reason": plan.pipeline.reason,
        }
    return document


def _pipeline_lines(pipeline: Choice, costs: str) -> Iterator[str]:
    one = pipeline.chosen
    stages = one.partition.stages
    cut = " | ".join(str(len(one.partition.layers_of(stage))) for stage in range(stages))
    chunks = f" in {one.partition.chunks} chunks each" if one.partition.chunks > 1 else ""
    yield f"layers      {cut} by stage{chunks}"
    yield f"schedule    {pipeline.reason}; times from {costs} costs"
    peaks = ", ".join(str(peak) for peak in one.simulation.peaks)
    yield f"simulated   bubble {100 * one.simulation.bubble:.1f} %; activations kept at once, by stage: {peaks}"


def _slices_in_words(copies: int, workers: int) -> str:
    if workers == 1:
        return "in slices, all of them on the only worker: as without parallel.shard_optimizer"
    loss = "its newest checkpoint is gone back to" if copies == 1 else "no state is lost"
    return f"in slices, each kept by {copies} of {workers} workers; when a worker dies, {loss}"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.3g}" if size_bytes < 1e9 else f"{size_bytes / 1e9:.2f}"
