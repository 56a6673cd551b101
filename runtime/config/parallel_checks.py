"""Rules across fields about [parallel]: how many devices there are, and what each of them holds."""

from __future__ import annotations

from runtime.config.places import Finding
from runtime.config.rule import Findings, Rule, at, rule
from runtime.config.schema import Config

OF_ANSWERS = ("exact_match", "bleu", "rouge1", "rouge2", "rougeL", "instruction_following")
"""What is measured by answers to held-out prompts."""
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
    """A worker, or the pipeline that it is a stage of, owns at least one logical shard of each global batch."""
    shards, workers, stages = config.parallel.logical_shards, config.parallel.workers, config.parallel.pipeline
    if shards < workers // stages:
        share = "" if stages == 1 else " / parallel.pipeline"
        fact = f"parallel.logical_shards ({shards}) is less than parallel.workers{share} ({workers // stages})"
        yield Finding(
            at("parallel.logical_shards"), fact, f"set parallel.logical_shards to {workers // stages} or more"
        )


def every_worker_has_a_sample(config: Config) -> Findings:
    """A worker without a sample only waits for the others. All stages of a pipeline work on the same ones."""
    samples, workers = config.train.global_batch_size, config.parallel.workers
    if samples < workers // config.parallel.pipeline:
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


def a_stage_keeps_its_state_whole(config: Config) -> Findings:
    """A stage holds the optimizer's state of its own layers alone; slices of slices are not dealt."""
    stages = config.parallel.pipeline
    if config.parallel.shard_optimizer and stages > 1:
        fact = f"cannot be combined with parallel.pipeline = {stages}, whose stages share out the state already"
        yield Finding(at("parallel.shard_optimizer"), fact, "set it to false")


def a_stage_recomputes_layers(config: Config) -> Findings:
    """A segment of layers may lie across the cut between two stages."""
    stages = config.parallel.pipeline
    if config.train.grad_checkpoint == "full" and stages > 1:
        fact = f'"full" recomputes segments of layers, which parallel.pipeline = {stages} may cut in two'
        yield Finding(at("train.grad_checkpoint"), fact, 'use "layer"')


def a_stage_takes_one_sample_a_row(config: Config) -> Findings:
    """What keeps the samples of a row apart stands where a layer of the whole model expects its cache."""
    stages = config.parallel.pipeline
    if config.data.batching == "pack" and stages > 1:
        fact = f'"pack" puts several samples into a row, and parallel.pipeline = {stages} takes rows of one'
        yield Finding(at("data.batching"), fact, 'use "bucket"')


def a_pipeline_writes_no_answers(config: Config) -> Findings:
    """An answer goes token by token through the whole model, which no worker of a pipeline holds."""
    stages, generate = config.parallel.pipeline, config.evaluation.generate
    if stages == 1:
        return
    if generate.every > 0:
        fact = f"no worker of parallel.pipeline = {stages} holds the whole model, so none can write answers"
        fix = "set it to 0; `mlx-distributed evaluate` writes them with an exported checkpoint"
        yield Finding(at("eval.generate.every"), fact, fix)
    metric = config.checkpoint.metric
    if metric.removeprefix("eval/").partition("/")[0] in OF_ANSWERS:
        fact = f'"{metric}" judges answers, and a run with parallel.pipeline = {stages} writes none'
        yield Finding(at("checkpoint.metric"), fact, 'use "loss"')


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
    rule(every_worker_has_a_shard, "parallel.logical_shards", "parallel.workers", "parallel.pipeline"),
    rule(every_worker_has_a_sample, "train.global_batch_size", "parallel.workers", "parallel.pipeline"),
    rule(
        split_covers_the_model,
        "parallel.split",
        "parallel.pipeline",
        "model.scratch.num_hidden_layers",
        "parallel.schedule",
    ),
    rule(stages_have_layers, "parallel.pipeline", "model.scratch.num_hidden_layers", "parallel.schedule"),
    rule(a_stage_keeps_its_state_whole, "parallel.shard_optimizer", "parallel.pipeline"),
    rule(a_stage_recomputes_layers, "train.grad_checkpoint", "parallel.pipeline"),
    rule(a_stage_takes_one_sample_a_row, "data.batching", "parallel.pipeline"),
    rule(a_pipeline_writes_no_answers, "eval.generate.every", "checkpoint.metric", "parallel.pipeline"),
    rule(replicas_fit_the_workers, "parallel.replicas", "parallel.workers", "parallel.shard_optimizer"),
    rule(sliced_state_is_elementwise, "parallel.shard_optimizer", "optim.name"),
)
