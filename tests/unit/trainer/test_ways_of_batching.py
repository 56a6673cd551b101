"""However the rows of a step are batched, its loss is the same: by number of rows, by tokens, or each sample alone."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.config.model import ModelSettings
from runtime.data.batches import GlobalShape, Shaping, make_micros
from runtime.data.encoded import Encoded
from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.data.tokens import TokenDataset
from runtime.ids import Cursor
from runtime.models.load import load_model
from runtime.trainer.gradients import GradientFunctions, trainable

BATCH, RATE = 4, 0.2
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def ragged_samples() -> TokenDataset:
    """100 samples of 4 to 64 tokens, the second half of each learnt."""
    draw = np.random.default_rng(5)
    lengths = draw.integers(4, 65, 100)
    return TokenDataset.of(
        [
            Encoded(tuple(draw.integers(0, 256, n).tolist()), (0,) * (n // 2) + (1,) * (n - n // 2))
            for n in map(int, lengths)
        ]
    )


def trajectory(shaping: Shaping, steps: int) -> tuple[list[float], list[float]]:
    """(mean loss, norm of the mean gradient) of each step of gradient descent."""
    dataset = ragged_samples()
    plan = BatchPlan(SampleOrder(0, len(dataset)), dataset.lengths, BATCH, 4)
    model = load_model(ModelSettings.model_validate({"scratch": TINY}), 0, "float32").model
    functions, parameters = GradientFunctions(model, compiled=False), trainable(model)
    losses, norms = [], []
    for step in range(steps):
        shards = plan.shards(Cursor(step * BATCH), BATCH, 4)
        total: Any = None
        loss, tokens = 0.0, 0
        for micro in make_micros(dataset, shards, GlobalShape(1, 64), shaping):
            losses_B, total = functions.add(parameters, total, micro.tokens_BT, micro.mask_BT)
            loss, tokens = loss + float(losses_B.sum().item()), tokens + int(micro.mask_BT.sum())
        parameters = {name: value - RATE / tokens * total[name] for name, value in parameters.items()}
        mx.eval(parameters)
        losses.append(loss / tokens)
        norms.append(float(mx.sqrt(sum((value**2).sum() for value in total.values())).item()) / tokens)
    return losses, norms


def assert_same_in_all_ways(steps: int) -> None:
    alone = trajectory(Shaping(1, 8), steps)
    for shaping in (Shaping(4, 16), Shaping(1, 16, tokens_per_batch=128)):
        losses, norms = trajectory(shaping, steps)
        assert np.allclose(losses, alone[0], rtol=2e-5, atol=0)
        assert np.allclose(norms, alone[1], rtol=2e-4, atol=0)
    assert alone[0][-1] < alone[0][0]


def test_bug_03_losses_and_gradients_are_the_same_however_rows_are_batched() -> None:
    assert_same_in_all_ways(4)


@pytest.mark.opt_in
def test_bug_03_and_stay_the_same_over_fifty_steps() -> None:
    assert_same_in_all_ways(50)
