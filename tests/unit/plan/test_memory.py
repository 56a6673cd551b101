"""Bytes of the state: the formulas of ZeRO, and the moments that the optimizers really keep."""

from __future__ import annotations

import math

import pytest

from runtime.optim.optimizer import RULES
from runtime.plan.memory import Held, Sharding, held, state_elements
from tests.unit.plan.llamas import llama, tensor

NAMES = [
    ("model.embed_tokens.weight", (10, 8)),
    ("transformer.wte.weight", (10, 8)),
    ("model.layers.0.self_attn.q_proj.weight", (8, 6)),
    ("model.layers.0.mlp.experts.weight", (3, 8, 6)),
    ("model.layers.1.conv1d.weight", (8, 4, 1)),
    ("model.layers.1.input_layernorm.weight", (8,)),
    ("model.layers.1.one_row", (1, 8)),
    ("lm_head.weight", (10, 8)),
]


@pytest.mark.parametrize("optimizer", RULES)
def test_the_moments_are_those_that_the_optimizer_keeps(optimizer: str) -> None:
    for name, shape in NAMES:
        kept = sum(math.prod(each) for each in RULES[optimizer].moments(name, shape).values())
        assert (name, state_elements(tensor(name, *shape), optimizer)) == (name, kept)


def test_adamw_in_float32_keeps_sixteen_bytes_per_parameter() -> None:
    p = 100
    assert held([tensor("a", 10, 10)], "adamw") == Held(4 * p, 4 * p, 8 * p, 0)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("replicas", [1, 2])
def test_zero_1_keeps_the_state_once_per_copy(n: int, replicas: int) -> None:
    p = 100
    found = held([tensor("a", 10, 10, itemsize=2)], "adamw", Sharding(n, sharded=True, replicas=replicas))
    assert found.parameters_bytes == 2 * p
    assert found.gradients_bytes == 4 * p
    assert found.optimizer_bytes == 12 * p * {1: 1, 2: 1, 4: replicas}[n] // n
    assert found.exchange_bytes == 0  # its slices of the sum take the place of its gradient
    assert found.host_bytes == ({1: 0, 2: 4 + 4, 4: 4 + 2 * replicas}[n] * p)
    assert found.total_bytes == found.parameters_bytes + found.gradients_bytes + found.optimizer_bytes


def test_a_sum_that_reaches_everybody_lies_beside_a_worker_s_own_gradient() -> None:
    p, one = 100, [tensor("a", 10, 10, itemsize=2)]
    for sharding in (Sharding(2), Sharding(2, sharded=True, deterministic=True)):
        assert held(one, "adamw", sharding).exchange_bytes == 4 * p
    assert held(one, "adamw", Sharding(2)).host_bytes == 8 * p
    assert held(one, "adamw", Sharding(1)).host_bytes == held(one, "adamw", Sharding(1)).exchange_bytes == 0


def test_an_only_micro_batch_keeps_its_gradient_as_it_was_computed() -> None:
    p, one = 100, [tensor("a", 10, 10, itemsize=2)]
    found = held(one, "adamw", Sharding(4, sharded=True, replicas=3), 2)
    assert (found.gradients_bytes, found.exchange_bytes) == (2 * p, 4 * p * 3 // 4 - 2 * p)


def test_a_frozen_tensor_costs_its_own_bytes_alone() -> None:
    assert held([tensor("base", 10, 10, trained=False)], "adamw") == Held(400)


def test_a_tied_table_counts_once() -> None:
    table = tensor("embed", 10, 10)
    assert held([table, table], "sgd") == held([table], "sgd") == Held(400, 400, 400)


def test_a_whole_llama_adds_up() -> None:
    parameters = 100 * 8 + 8 + 4 * (4 * 8 * 8 + 3 * 8 * 24 + 2 * 8)
    assert held(llama().once(), "lion").total_bytes == (4 + 4 + 4) * parameters
