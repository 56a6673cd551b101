"""[checkpoint], [eval], [eval.generate]: what is saved, when, and how good it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtime.config.table import Amount, Count, Filled, Positive, Table, no_repeats


class CheckpointSettings(Table):
    """When the whole state is saved, and which copies are kept."""

    every: Count = 200
    """steps; 0 -> only at the end"""
    every_s: Amount = 0.0
    """or seconds; 0 -> count steps only"""
    keep_last: Positive = 3
    """newest checkpoints that stay"""
    keep_best: Count = 1
    """best checkpoints that stay as well"""
    metric: Filled = "eval/loss"
    """what "best" is measured by"""
    mode: Literal["min", "max"] = "min"
    """"min" (smaller is better) | "max" """
    asynchronous: Annotated[bool, Field(alias="async")] = True
    """write while training goes on"""


Metric = Literal["exact_match", "bleu", "rouge1", "rouge2", "rougeL", "instruction_following"]


class GenerateSettings(Table):
    """Answers to held-out prompts, written by the model and compared with the expected ones."""

    every: Count = 0
    """steps; 0 -> at the end"""
    samples: Positive = 64
    """held-out prompts that are answered"""
    max_tokens: Positive = 128
    """longest answer, in tokens"""
    temperature: Amount = 0.0
    """0 -> always the likeliest token"""
    metrics: Annotated[tuple[Metric, ...], Field(strict=False), AfterValidator(no_repeats)] = ("exact_match",)
    """"exact_match" | "bleu" | "rouge1" | "rouge2" | "rougeL" | "instruction_following" """


class EvalSettings(Table):
    """Loss on held-out data."""

    every: Count = 0
    """steps; 0 -> at the end"""
    max_batches: Count = 0
    """0 -> all"""
    generate: GenerateSettings = GenerateSettings()
