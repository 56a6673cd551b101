"""Rules across fields about [parallel]: how many devices there are, and what each of them holds."""

from __future__ import annotations

from runtime.config.places import Finding
from runtime.config.rule import Findings, Rule, at, rule
from runtime.config.schema import Config

NOT_ELEMENTWISE = ("muon", "adafactor")
"""Optimizers whose update of an element depends on others of its matrix."""


def workers_are_data_times_pipeline(config: Config) -> Findings:
    """Every worker is one stage of one replica."""
    workers, data, stages = config.parallel.workers, config.parallel.data, config.parallel.pipeline
    if workers and data and data * stages != workers:
        fact = f"parallel.data x parallel.pipeline ({data} x {stages}) is not parallel.workers ({workers})"
        yield Finding(at("parallel.data"), fact, "set parallel.data to 0 and it follows from the other two")
    elif workers % stages:
        fact = f"parallel.workers ({workers}) is not a multiple of parallel.pipeline ({stages})"
        yield Finding(at("parallel.workers"), fact, f"{-(-workers // stages) * stages} workers would fill the stages")


def every_worker_has_a_shard(config: Config) -> Findings:
    """A worker owns at least one logical shard of each global batch."""
    shards, workers = config.parallel.logical_shards, config.parallel.workers
    if shards < workers:
        fact = f"parallel.logical_shards ({shards}) is less than parallel.workers ({workers})"
        yield Finding(at("parallel.logical_shards"), fact, f"set parallel.logical_shards to {workers} or more")


def every_worker_has_a_sample(config: Config) -> Findings:
    """A worker without a sample only waits for the others."""
    samples, workers = config.train.global_batch_size, config.parallel.workers
    if samples < workers:
        fact = (
            f"train.global_batch_size ({samples}) is less than parallel.workers ({workers}): some would have no sample"
        )
        yield Finding(at("train.global_batch_size"), fact, "raise train.global_batch_size or use fewer workers")


def split_covers_the_model(config: Config) -> Findings:
    """A split names the layers of each stage, and all layers of the model."""
    split, stages, path = config.parallel.split, config.parallel.pipeline, at("parallel.split")
    if not split:
        return
    if len(split) != stages:
        yield Finding(
            path, f"names {len(split)} stages, but parallel.pipeline is {stages}", "write one number per stage"
        )
    layers = config.model.scratch.num_hidden_layers
    if not config.model.path and sum(split) != layers:
        fact = f"adds up to {sum(split)} layers, but model.scratch.num_hidden_layers is {layers}"
        yield Finding(path, fact, "leave it [] and the layers are measured and split")
    if config.parallel.schedule == "interleaved":
        fact = 'names the layers of whole stages, and parallel.schedule = "interleaved" cuts each of them in two'
        yield Finding(path, fact, "leave it [], or choose another schedule")


def stages_have_layers(config: Config) -> Findings:
    """Every stage holds a layer; an interleaved one holds two pieces of the model."""
    stages, layers = config.parallel.pipeline, config.model.scratch.num_hidden_layers
    pieces = 2 * stages if config.parallel.schedule == "interleaved" else stages
    if stages > 1 and not config.model.path and layers < pieces:
        fact = f"{stages} stages need {pieces} layers, but model.scratch.num_hidden_layers is {layers}"
        yield Finding(at("parallel.pipeline"), fact, f"set parallel.pipeline to {max(1, layers * stages // pieces)}")


def replicas_fit_the_workers(config: Config) -> Findings:
    """With a copy of each slice on every worker nothing is sharded; of the default, two workers keep one."""
    replicas, workers = config.parallel.replicas, config.parallel.workers
    if config.parallel.shard_optimizer and workers and replicas > max(2, workers - 1):
        fact = f"parallel.replicas ({replicas}) copies of each slice on {workers} workers leave nothing sharded"
        yield Finding(at("parallel.replicas"), fact, f"set parallel.replicas to {max(1, workers - 1)} or less")


def sliced_state_is_elementwise(config: Config) -> Findings:
    """An update that looks at whole matrices cannot be done slice by slice."""
    name = config.optim.name
    if config.parallel.shard_optimizer and name in NOT_ELEMENTWISE:
        fact = f'optim.name = "{name}" updates whole matrices, and parallel.shard_optimizer cuts them into slices'
        yield Finding(at("parallel.shard_optimizer"), fact, 'set it to false, or use "adamw", "adam", "sgd" or "lion"')


RULES: tuple[Rule, ...] = (
    rule(workers_are_data_times_pipeline, "parallel.data", "parallel.workers", "parallel.pipeline"),
    rule(every_worker_has_a_shard, "parallel.logical_shards", "parallel.workers"),
    rule(every_worker_has_a_sample, "train.global_batch_size", "parallel.workers"),
    rule(
        split_covers_the_model,
        "parallel.split",
        "parallel.pipeline",
        "model.scratch.num_hidden_layers",
        "parallel.schedule",
    ),
    rule(stages_have_layers, "parallel.pipeline", "model.scratch.num_hidden_layers", "parallel.schedule"),
    rule(replicas_fit_the_workers, "parallel.replicas", "parallel.workers", "parallel.shard_optimizer"),
    rule(sliced_state_is_elementwise, "parallel.shard_optimizer", "optim.name"),
)
