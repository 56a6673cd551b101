"""[data], [[data.source]], [data.eval]: what is read, what becomes of it, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from runtime.config.table import Count, Filled, Fraction, Positive, PositiveNumber, ProperFraction, Table


class SourceSettings(Table):
    """One source of training data; write [[data.source]] once for each."""

    path: Filled = "data/train.jsonl"
    """file, glob, folder, or hf:org/name (extra `hf`)"""
    format: Literal["auto", "alpaca", "sharegpt", "messages", "prompt", "text", "tokens"] = "auto"
    """"auto" | "alpaca" | "sharegpt" | "messages" | "prompt" | "text" | "tokens" """
    weight: PositiveNumber = 1.0
    """share of this source with data.mixing = "weighted" """
    columns: Mapping[str, Filled] = {}
    """renames columns, e.g. instruction = "question" """


class EvalDataSettings(Table):
    """Data that is never trained on: a file of its own, or a fraction of the training data."""

    path: str = ""
    """"" -> eval_fraction of the training data"""
    eval_fraction: ProperFraction = 0.0
    """fraction of the training data that is held out; 0 -> none"""


def _at_least_one(sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
    if not sources:
        raise ValueError("must hold at least one [[data.source]]")
    return sources


class DataSettings(Table):
    """From files to batches."""

    max_length: Annotated[int, Field(ge=2)] = 2048
    """tokens of the longest sample"""
    overlength: Literal["drop", "truncate", "error"] = "drop"
    """what happens to a longer one: "drop" | "truncate" | "error" """
    max_drop_fraction: Fraction = 0.05
    """more dropped samples than this end the run before it starts"""
    bad_sample: Literal["error", "quarantine"] = "quarantine"
    """what happens to a malformed one: "error" | "quarantine" """
    max_bad_fraction: Fraction = 0.01
    """more malformed samples than this end the run before it starts"""
    mask: Literal["assistant", "last", "completion", "all"] = "assistant"
    """which tokens are learnt: "assistant" | "last" | "completion" | "all" """
    train_on_stop: bool = True
    """learn the token that ends an answer as well"""
    system: str = ""
    """system message of samples that have none; "" -> none"""
    shuffle: bool = True
    """a new order in each epoch, from run.seed"""
    streaming: bool = False
    """read while training instead of before it"""
    batching: Literal["bucket", "pack", "pad"] = "bucket"
    """"bucket" (by length) | "pack" | "pad" """
    window: Positive = 64
    """global batches per length-sort window"""
    tokens_per_batch: Count = 0
    """0 -> micro_batch_size rows; > 0 -> dynamic batches of about that many tokens"""
    pad_multiple: Positive = 32
    """rows are padded to a multiple of this many tokens"""
    prefetch: Positive = 4
    """batches that are made ahead of the trainer"""
    cache_dir: Filled = "~/.cache/mlx-distributed"
    """tokenised data and downloads"""
    mixing: Literal["concat", "weighted"] = "concat"
    """several sources: "concat" (each sample once per epoch) | "weighted" """
    sources: Annotated[
        tuple[SourceSettings, ...], Field(strict=False, alias="source"), AfterValidator(_at_least_one)
    ] = (SourceSettings(),)
    evaluation: Annotated[EvalDataSettings, Field(alias="eval")] = EvalDataSettings()
