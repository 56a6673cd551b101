"""[parallel], [sync]: how the work is cut over devices, and how their gradients meet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.config.table import Count, Positive, PositiveNumber, ProperFraction, Table


class ParallelSettings(Table):
    """How many devices, and what each of them holds."""

    workers: Count = 0
    """0 -> one per device found (on a CPU-only host: 2)"""
    data: Count = 0
    """replicas of the model; 0 -> workers / pipeline"""
    pipeline: Positive = 1
    """stages that the layers are cut into; 1 -> every worker holds the whole model"""
    schedule: Literal["auto", "gpipe", "1f1b", "interleaved", "zb-h1"] = "auto"
    """of the stages: "auto" | "gpipe" | "1f1b" | "interleaved" | "zb-h1" """
    split: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    """layers per stage; [] -> by measured cost and memory"""
    shard_optimizer: bool = False
    """ZeRO-1: each worker keeps a part of the optimizer's state, not all of it; not with muon and adafactor"""
    replicas: Positive = 2
    """copies of each part, so that a lost worker loses none; two workers keep one each, and go back to a checkpoint"""
    logical_shards: Positive = 16
    """parts that each global batch is cut into; the unit of work that moves between workers"""


class SyncSettings(Table):
    """How gradients travel."""

    backend: Literal["auto", "grpc", "nccl", "jaccl", "ring"] = "auto"
    """"auto" | "grpc" | "nccl" (CUDA) | "jaccl" (Thunderbolt 5) | "ring" """
    wire_dtype: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """"auto" (between machines the gradient's dtype, in one float32) | "float32" | "bfloat16" | "int8" """
    compression: Literal["none", "topk", "powersgd"] = "none"
    """"none" | "topk" | "powersgd" """
    compression_ratio: Annotated[float, Field(gt=0, le=1)] = 0.01
    """topk: fraction of the gradient that is sent"""
    compression_rank: Positive = 4
    """powersgd: rank of what is sent"""
    bucket_mb: Positive = 16
    """size of a bucket of gradients, in MiB"""
    every: Positive = 1
    """> 1: local steps between synchronisations (DiLoCo)"""
    staleness: Count = 0
    """> 0: asynchronous gradient updates, at most this many steps old"""
    outer_lr: PositiveNumber = 0.7
    """DiLoCo: learning rate of the outer optimizer"""
    outer_momentum: ProperFraction = 0.9
    """DiLoCo: momentum of the outer optimizer"""
    verify_every: Count = 100
    """steps between two comparisons of the replicas' parameter hashes; 0 off"""
