"""A replica's part of a step, and of an evaluation, where it is one stage of a pipeline. On the MLX thread."""

from __future__ import annotations

import mlx.core as mx

from runtime.flow import Batch
from runtime.trainer.engine import Local
from runtime.trainer.gradients import cast
from runtime.trainer.neighbours import Place
from runtime.trainer.replica import Replica
from runtime.trainer.stage_part import StageJudge
from runtime.trainer.stage_sums import StageSums, weights_of
from runtime.trainer.tally import tallied


def add_through_stages(replica: Replica, local: Local, batch: Batch) -> None:
    """Compute every shard of `batch` together with the other stages, which are given the same batch, into `local`.

    Raises Aborted and PeerLost; then `local` is as it was."""
    stage, functions, micros = replica.stage, replica.functions, batch.micros
    assert stage is not None
    assert replica.state is not None
    with replica.noting_shapes(local.step):
        functions.shapes |= {tuple(micro.tokens_BT.shape) for micro in micros}
    scale = None if replica.loss_scale is None else replica.loss_scale.after(replica.state.counters)
    sums = StageSums(micros, weights_of(micros, scale), replica.logical_shards, replica.deterministic)
    rows = None if functions.rows is None else (functions.rows, [each for _, each in replica.numbered(local, batch)])
    parameters = cast(replica.trained, replica.compute)
    mx.eval(parameters)
    stage.run(Place(local.generation, local.step), micros, parameters, sums, rows)
    local.gradients = sums.total()
    local.tallies |= tallied(batch, micros, sums.losses_in_order)
    local.useful_tokens += batch.useful_tokens
    local.computed_positions += batch.computed_positions


def judge_of(replica: Replica, place: Place) -> Replica | StageJudge:
    """What judges held-out data: the replica itself, or its stage together with the others, at this place."""
    if replica.stage is None:
        return replica
    return StageJudge(replica.stage, place, cast(replica.trained, replica.compute))
