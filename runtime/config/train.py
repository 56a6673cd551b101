"""[train], [optim]: how long, how many samples at once, and what a gradient does to a parameter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from runtime.config.table import Amount, Count, Fraction, Positive, PositiveNumber, ProperFraction, Table


class TrainSettings(Table):
    """Length, batch sizes and safety of the training."""

    steps: Count = 0
    """optimizer steps; exactly one of steps and epochs is > 0 (steps alone turns epochs off)"""
    epochs: Amount = 1.0
    """passes over the training data"""
    global_batch_size: Positive = 32
    """samples per step, over all workers: never changes with their number"""
    micro_batch_size: Positive = 4
    """samples per device at once; accumulation follows"""
    max_grad_norm: Amount = 1.0
    """0 -> no clipping"""
    grad_checkpoint: Literal["none", "layer", "full"] = "none"
    """recompute instead of remember: "none" | "layer" | "full" """
    compile: bool = True
    """compile the step; false only to find a fault"""
    nonfinite: Literal["skip", "error"] = "skip"
    """a gradient that is not finite: "skip" the step | "error"; five in a row roll back"""
    spike_zscore: Amount = 0.0
    """> 0: clip by z-score of the gradient norm's moving average as well"""
    log_every: Positive = 1
    """steps between two lines of progress"""

    @model_validator(mode="before")
    @classmethod
    def _steps_alone_turn_epochs_off(cls, raw: Any) -> Any:
        """The default of epochs steps back where only steps was written: one line is enough to say how long."""
        if isinstance(raw, dict) and "epochs" not in raw and epochs_step_back(raw.get("steps")):
            return {**raw, "epochs": 0.0}
        return raw


def epochs_step_back(steps: object) -> bool:
    """Whether this value of train.steps sets train.epochs, left out, to 0."""
    return type(steps) is int and steps > 0


class OptimSettings(Table):
    """The optimizer and its learning rate."""

    name: Literal["adamw", "adam", "sgd", "lion", "muon", "adafactor"] = "adamw"
    """"adamw" | "adam" | "sgd" | "lion" | "muon" | "adafactor" """
    lr: Annotated[float, Field(gt=0, le=10)] = 1e-4
    """highest learning rate, reached after the warmup"""
    betas: Annotated[tuple[ProperFraction, ProperFraction], Field(strict=False)] = (0.9, 0.95)
    """decay of the first and the second moment; momentum of sgd and muon: the first"""
    eps: PositiveNumber = 1e-8
    """added to the denominator"""
    weight_decay: Amount = 0.01
    """not on norms, biases, embeddings unless decay_all = true"""
    decay_all: bool = False
    """weight decay on every parameter"""
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    """"constant" | "linear" | "cosine" | "wsd" (warmup, stable, decay)"""
    warmup_steps: Count = 0
    """steps from 0 to lr; or warmup_ratio, not both"""
    warmup_ratio: ProperFraction = 0.0
    """the same as a fraction of all steps"""
    min_lr_ratio: Fraction = 0.1
    """the schedule ends at this fraction of lr"""
    loss_scale: Literal["dynamic"] | PositiveNumber = "dynamic"
    """float16 only: "dynamic" | a number"""
