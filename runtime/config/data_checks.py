"""Rules across fields about how [data] becomes rows."""

from __future__ import annotations

from runtime.config.architectures import KNOWN_BY_NAME, NOT_PACKABLE, unpackable
from runtime.config.places import Finding
from runtime.config.rule import Findings, Rule, at, rule
from runtime.config.schema import Config


def packed_samples_are_kept_apart(config: Config) -> Findings:
    """Samples that share a row must not see each other, which not every architecture allows."""
    name = config.model.scratch.architecture
    if config.data.batching == "pack" and not config.model.path and name in NOT_PACKABLE:
        yield Finding(at("data.batching"), unpackable(name, KNOWN_BY_NAME), 'use "bucket", which batches by length')


def packed_rows_have_one_stage(config: Config) -> Findings:
    """Between two stages travels what a layer gives to the next, and no mask."""
    if config.data.batching == "pack" and config.parallel.pipeline > 1:
        fact = f'data.batching = "pack" and parallel.pipeline ({config.parallel.pipeline}) exclude each other'
        yield Finding(at("data.batching"), fact, 'use "bucket", or set parallel.pipeline to 1')


def what_is_streamed_is_not_divided(config: Config) -> Findings:
    """Equal prompts are kept on one side of a split, which takes all of them."""
    if config.data.streaming and config.data.evaluation.eval_fraction > 0:
        fact = "data.eval.eval_fraction divides data that is all read, and data.streaming reads it while training"
        yield Finding(at("data.eval.eval_fraction"), fact, "set data.eval.path, or data.streaming = false")


def an_endless_stream_is_counted_in_steps(config: Config) -> Findings:
    """Nobody knows how long an epoch of a stream of the hub is."""
    endless = any(source.path.startswith("hf:") for source in config.data.sources)
    if config.data.streaming and endless and config.train.steps == 0:
        fact = "train.epochs of a stream of the hub have no known length (data.streaming)"
        yield Finding(at("train.epochs"), fact, "set train.steps, and train.epochs to 0")


RULES: tuple[Rule, ...] = (
    rule(packed_samples_are_kept_apart, "data.batching", "model.scratch.architecture", "model.path"),
    rule(packed_rows_have_one_stage, "data.batching", "parallel.pipeline"),
    rule(what_is_streamed_is_not_divided, "data.eval.eval_fraction", "data.streaming"),
    rule(an_endless_stream_is_counted_in_steps, "train.epochs", "train.steps", "data.streaming", "data.source.path"),
)
