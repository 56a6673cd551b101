"""Default costs by the rule of 1 : 1 : 1, and measured ones in their place."""

from __future__ import annotations

import pytest

from runtime.pipeline.costs import Calibration, Roofline, Work, from_layer_kinds, measured, modelled
from runtime.pipeline.partition import Cost, ModelCosts
from runtime.pipeline.simulator import PieceTimes

SLOW = Roofline(operations_per_s=1.0, bytes_per_s=1e9)


def test_a_layer_that_is_trained_whole_costs_the_same_three_times() -> None:
    cost = modelled(Work(weights=10, trained=10), 3, 3, SLOW)
    assert (cost.forward_s, cost.backward_input_s, cost.backward_weight_s) == (60, 60, 60)


def test_a_frozen_layer_beside_an_adapter_has_next_to_no_weight_gradients() -> None:
    cost = modelled(Work(weights=1010, trained=10), 1, 1, SLOW)
    assert (cost.forward_s, cost.backward_input_s, cost.backward_weight_s) == (2020, 2020, 20)


def test_attention_grows_with_the_length_and_costs_twice_on_the_way_back() -> None:
    cost = modelled(Work(weights=0, trained=0, attention_width=5), 2, 7, SLOW)
    assert (cost.forward_s, cost.backward_input_s, cost.backward_weight_s) == (280, 560, 0)


def test_few_tokens_wait_for_the_weights_to_be_read() -> None:
    assert modelled(Work(weights=1, trained=0, weight_bytes=50), 1, 1, Roofline(1e9, 1.0)).forward_s == 50


def test_nothing_stands_before_the_embedding() -> None:
    cost = modelled(Work(weights=1, trained=1, reaches_input=False), 1, 1, SLOW, kept_bytes=7, activation_bytes=8)
    assert (cost.backward_input_s, cost.kept_bytes, cost.activation_bytes) == (0.0, 7, 8)


def test_measured_seconds_take_the_place_of_modelled_ones_and_bytes_stay() -> None:
    costs = ModelCosts((Cost(1, 1, 1, 5, 6), Cost(1, 1, 1)), Cost(1, 0, 1), Cost(1, 1, 1), 64)
    kinds = from_layer_kinds((1, 0), (PieceTimes(2, 3, 4, 6.5), PieceTimes(7, 8, 9)))
    found = measured(costs, Calibration(kinds, PieceTimes(0, 0, 1), PieceTimes(2, 2, 2)))
    assert found.layers == (Cost(7, 8, 9, 5, 6), Cost(2, 3, 4, whole_backward_s=6.5))
    assert (found.embedding, found.head, found.message_bytes) == (Cost(0, 0, 1), Cost(2, 2, 2), 64)


def test_a_calibration_of_another_model_or_with_a_negative_time_is_refused() -> None:
    unit = PieceTimes(1, 1, 1)
    with pytest.raises(ValueError, match="1 layers were measured, the model has 2"):
        measured(ModelCosts((Cost(1, 1, 1),) * 2), Calibration((unit,), unit, unit))
    with pytest.raises(ValueError, match="below zero"):
        Calibration((PieceTimes(1, -1, 1),), unit, unit)
