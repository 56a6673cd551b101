"""Held-out data go through the model in evaluation mode, steps in training mode."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from runtime.trainer.gradients import GradientFunctions, trainable


class Dropping(nn.Module):
    """A model that forgets most of what it sees while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.dropout, self.head = nn.Embedding(8, 8), nn.Dropout(0.7), nn.Linear(8, 8)

    def __call__(self, tokens_BT: mx.array) -> mx.array:
        result: mx.array = self.head(self.dropout(self.embedding(tokens_BT)))
        return result


@pytest.mark.parametrize("compiled", [False, True])
def test_held_out_data_are_judged_without_dropout_and_training_goes_on_with_it(compiled: bool) -> None:
    model = Dropping()
    model.train()
    functions = GradientFunctions(model, compiled=compiled)
    parameters = trainable(model)
    tokens, mask = np.arange(8, dtype=np.int32)[None], np.ones((1, 8), np.float32)
    judged = {functions.judge(parameters, tokens, mask)[0].item() for _ in range(3)}
    assert len(judged) == 1
    assert model.training
    rows = [np.array([number], np.uint32) for number in (1, 2, 3)]
    trained = {functions.add(parameters, None, tokens, mask, numbers=row)[0].item() for row in rows}
    assert trained.isdisjoint(judged)
