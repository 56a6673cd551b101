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


RULES: tuple[Rule, ...] = (
    rule(packed_samples_are_kept_apart, "data.batching", "model.scratch.architecture", "model.path"),
    rule(packed_rows_have_one_stage, "data.batching", "parallel.pipeline"),
)
