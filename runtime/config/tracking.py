"""[wandb]: Weights & Biases."""

from __future__ import annotations

from typing import Literal

from runtime.config.table import Filled, Positive, Table, Texts


class WandbSettings(Table):
    """Weights & Biases."""

    mode: Literal["disabled", "offline", "online"] = "disabled"
    """"disabled" | "offline" | "online" """
    project: Filled = "mlx-distributed"
    """project that the run belongs to"""
    entity: str = ""
    """user or team; "" -> your own"""
    group: str = ""
    """group of runs; "" -> the run's name"""
    tags: Texts = ()
    """labels of the run"""
    log: Literal["main", "per_rank"] = "main"
    """"main" (one run, reduced metrics) | "per_rank" (a group of runs)"""
    artifacts: Literal["none", "best", "last", "all"] = "none"
    """checkpoints that are uploaded: "none" | "best" | "last" | "all" """
    init_timeout_s: Positive = 30
    """how long the start may wait for it"""
