"""A worker's stage of the pipeline: which layers it holds, and a model of which everything else was let go.

Every worker comes to the same cut and the same schedule by itself: both follow from the configuration and the model's
shapes, by the plan that `mlx-distributed plan` prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from runtime.errors import UsageError
from runtime.models.anatomy import Anatomy, examine
from runtime.plan.plan import Plan
from runtime.trainer.gradients import cast, trainable
from runtime.trainer.stage_part import StagePart


def stage_of(model: Any, plan: Plan | None, index: int, *, compute: mx.Dtype | None, recompute: str) -> StagePart:
    """Stage `index` of the plan's pipeline. The model's parameters are lazy still; afterwards those of the stage are
    evaluated, and the others are nothing that takes memory.

    Raises ModelError for a model that cannot be cut, or a stage with nothing to train; UsageError without a plan."""
    if plan is None or plan.pipeline is None:
        raise UsageError("parallel.pipeline: the model has no plan, so it cannot be cut into stages; leave it at 1")
    chosen, anatomy = plan.pipeline.chosen, anatomy_in(model, compute)
    part = StagePart(model, anatomy, chosen.partition, chosen.schedule.name, index, recompute=recompute)
    let_go(model, part.owned)
    return part


def anatomy_in(model: Any, compute: mx.Dtype | None) -> Anatomy:
    """The anatomy of a model whose trained parameters are cast to `compute` when they are used."""
    parameters = trainable(model)
    model.update(tree_unflatten(list(cast(parameters, compute).items())))
    try:
        return examine(model)
    finally:
        model.update(tree_unflatten(list(parameters.items())))


def let_go(model: Any, owned: Iterable[str]) -> None:
    """Evaluate the `owned` parameters, one by one, and put in the place of each other one zeros that nothing reads."""
    keep = frozenset(owned)
    for name, value in tree_flatten(model.parameters()):
        if name in keep:
            mx.eval(value)
        else:
            model.update(tree_unflatten([(name, mx.zeros(value.shape, value.dtype))]))
