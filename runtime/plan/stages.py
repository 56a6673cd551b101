"""The pipeline of a configuration: costs of its layers, and the schedule chosen for them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.config.schema import Config
from runtime.models.blueprint import Blueprint, Tensor
from runtime.pipeline.choice import Choice, choose
from runtime.pipeline.costs import LAPTOP, Calibration, Roofline, Work, measured, modelled
from runtime.pipeline.partition import Cost, Device, ModelCosts, NoPartition
from runtime.pipeline.simulator import Link
from runtime.plan.activations import Batch, boundary_bytes, footprint, head_bytes, multiplied
from runtime.plan.memory import Sharding, held


def model_costs(config: Config, blueprint: Blueprint, sharding: Sharding, roofline: Roofline = LAPTOP) -> ModelCosts:
    """Modelled costs of every piece of the model for one micro-batch of the longest rows."""
    batch = Batch(config.rows_at_once, config.data.max_length)

    def cost(tensors: Sequence[Tensor], activation_bytes: int, *, attends: bool, reaches_input: bool = True) -> Cost:
        work = Work(
            weights=sum(multiplied(tensor, blueprint) for tensor in tensors),
            trained=sum(multiplied(tensor, blueprint) for tensor in tensors if tensor.trained),
            weight_bytes=sum(tensor.size_bytes for tensor in tensors),
            attention_width=blueprint.heads * blueprint.head_width if attends else 0,
            reaches_input=reaches_input,
        )
        kept = held(tensors, config.optim.name, sharding).total_bytes
        times = modelled(work, batch.tokens, batch.positions, roofline)
        return Cost(times.forward_s, times.backward_input_s, times.backward_weight_s, kept, activation_bytes)

    checkpointing = config.train.grad_checkpoint
    layers = tuple(
        cost(layer, footprint([layer], blueprint, batch, checkpointing, has_head=False).each_bytes, attends=True)
        for layer in blueprint.layers
    )
    looked_up = held(blueprint.before, config.optim.name, sharding).total_bytes
    boundary = boundary_bytes(blueprint, batch)
    embedding = Cost(0.0, 0.0, roofline.seconds(0, 2 * boundary), looked_up)
    head = cost(blueprint.behind, head_bytes(blueprint, batch), attends=False)
    return ModelCosts(layers, embedding, head, boundary)


def micro_batches(config: Config, replicas: int) -> int:
    """Micro-batches of one step in each pipeline, when `replicas` pipelines share the global batch."""
    return math.ceil(math.ceil(config.train.global_batch_size / replicas) / config.rows_at_once)


def chosen(
    config: Config,
    blueprint: Blueprint,
    workers: int,
    *,
    memory_bytes: float = math.inf,
    calibration: Calibration | None = None,
    links: Sequence[Link] = (),
) -> Choice:
    """The pipeline that the configuration asks for, one stage per device of `memory_bytes`.

    Raises NoPartition with the reason when the model or the devices do not allow it.
    """
    if blueprint.uncuttable:
        raise NoPartition(blueprint.uncuttable)
    stages, settings = config.parallel.pipeline, config.parallel
    replicas = max(1, workers // stages)
    costs = model_costs(config, blueprint, Sharding(replicas, settings.shard_optimizer, settings.replicas))
    batch = Batch(config.rows_at_once, config.data.max_length)
    again = footprint(blueprint.layers, blueprint, batch, config.train.grad_checkpoint, has_head=False).once_bytes
    if calibration is not None:
        costs = measured(costs, calibration)
    return choose(
        costs,
        [Device(memory_bytes - again)] * stages,
        micro_batches(config, replicas),
        schedule=None if settings.schedule == "auto" else settings.schedule,
        split=settings.split,
        links=links,
    )
