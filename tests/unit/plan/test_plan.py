"""The plan of a configuration: per device, by stage, in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runtime.config.schema import Config
from runtime.errors import ModelError
from runtime.pipeline.costs import Calibration
from runtime.pipeline.partition import NoPartition
from runtime.pipeline.simulator import PieceTimes
from runtime.plan.memory import held
from runtime.plan.plan import as_json, lines, make
from tests.unit.plan.llamas import llama


def config(**parallel: Any) -> Config:
    return Config.model_validate(
        {
            "train": {"global_batch_size": 16, "micro_batch_size": 2},
            "data": {"max_length": 32},
            "parallel": parallel,
        }
    )


def test_without_a_pipeline_every_worker_needs_the_same() -> None:
    plan = make(config(), llama(), 2)
    (device,) = plan.devices
    assert (plan.replicas, plan.micro_batches, plan.pipeline) == (2, 4, None)
    assert device.held.parameters_bytes == held(llama().once(), "adamw").parameters_bytes
    assert device.peak_bytes == device.held.total_bytes + max(device.activations_bytes, device.held.exchange_bytes)
    assert plan.parameters == plan.trained == sum(each.elements for each in llama().once())


def test_gradients_take_sixteen_bits_where_nothing_is_added_to_them() -> None:
    half = replace(llama(), itemsize=2)

    def per_element(batch: int, **tables: Any) -> float:
        given = {"train": {"global_batch_size": batch, "micro_batch_size": 2}, "data": {"max_length": 32}, **tables}
        plan = make(Config.model_validate(given), half, 1)
        return plan.devices[0].held.gradients_bytes / plan.trained

    assert per_element(2) == 2
    assert per_element(4) == 4
    assert per_element(8, run={"deterministic": True}) == 4 * (1 + 3)  # of eight shards three sums wait for the fourth
    assert per_element(2, model={"dtype": "float16"}) == 4


def test_a_micro_batch_is_no_larger_than_a_worker_s_part_nor_than_a_shard_that_is_summed() -> None:
    def rows(workers: int, **tables: Any) -> int:
        given = {"train": {"global_batch_size": 16, "micro_batch_size": 8}, "data": {"max_length": 32}, **tables}
        return make(Config.model_validate(given), llama(), workers).rows

    assert [rows(workers) for workers in (1, 2, 4)] == [8, 8, 4]
    assert rows(1, run={"deterministic": True}, parallel={"logical_shards": 4}) == 4


def test_parameters_that_are_cast_are_there_twice_while_they_are_used() -> None:
    stored_in_half = replace(llama(itemsize=2), itemsize=4)
    (half,), (full,) = (make(config(), model, 1).devices for model in (stored_in_half, llama()))
    assert half.activations_bytes - full.activations_bytes == full.held.parameters_bytes


def test_the_plan_says_what_sharding_saves_and_what_a_death_costs() -> None:
    def said(workers: int, **parallel: object) -> str:
        settings = config(shard_optimizer=True, **parallel)
        return "\n".join(lines(make(settings, llama(), workers)))

    assert "on the only worker: as without parallel.shard_optimizer" in said(1)
    assert "each kept by 1 of 2 workers; when a worker dies, its newest checkpoint is gone back to" in said(2)
    assert "each kept by 2 of 4 workers; when a worker dies, no state is lost" in said(4)
    assert ["beside each device, for what travels" in said(workers) for workers in (1, 2)] == [False, True]
    assert ["begins its updates before they are due" in said(workers) for workers in (1, 2)] == [True, False]
    assert "in slices" not in "\n".join(lines(make(config(), llama(), 4)))


def test_stages_hold_their_layers_and_both_ends_hold_a_tied_table() -> None:
    plan = make(config(pipeline=2, schedule="1f1b", split=[3, 1]), llama(), 2)
    first, last = plan.devices
    layer = sum(each.size_bytes for each in llama().layers[0])
    assert (first.layers, last.layers) == (3, 1)
    assert first.held.parameters_bytes == 3 * layer + 4 * 800
    assert last.held.parameters_bytes == layer + 4 * 800 + 4 * 8
    assert (first.in_flight, last.in_flight) == (2, 1)
    assert (plan.replicas, plan.micro_batches) == (1, 8)


def test_the_schedule_is_chosen_by_measured_costs_when_there_are_any() -> None:
    slow_head = Calibration((PieceTimes(1, 1, 1),) * 4, PieceTimes(0, 0, 0), PieceTimes(2, 2, 2))
    plan = make(config(pipeline=2, schedule="1f1b"), llama(), 2, calibration=slow_head)
    assert [device.layers for device in plan.devices] == [3, 1]
    assert any("times from measured costs" in line for line in lines(plan))


def test_auto_says_why() -> None:
    text = "\n".join(lines(make(config(pipeline=2), llama(), 4)))
    assert "4: 2 replicas x 2 stages; a step is 4 micro-batches of up to 2 x 32 tokens each" in text
    assert "by simulation" in text or "the simplest within" in text
    assert "simulated   bubble" in text
    assert "times from modelled costs" in text
    assert len(text.splitlines()) == 10


def test_interleaved_stages_count_their_chunks() -> None:
    plan = make(config(pipeline=2, schedule="interleaved"), llama(), 2)
    assert [device.layers for device in plan.devices] == [2, 2]
    assert "2 | 2 by stage in 2 chunks each" in "\n".join(lines(plan))


def test_a_script_reads_the_same() -> None:
    document = json.loads(json.dumps(as_json(make(config(pipeline=2, schedule="gpipe"), llama(), 2))))
    assert document["pipeline"]["schedule"] == "gpipe"
    assert document["pipeline"]["bubble"] > 0
    assert document["devices"][0]["peak_bytes"] > document["devices"][0]["activations_bytes"]
    assert as_json(make(config(), llama(), 1))["pipeline"] is None


def test_frozen_parameters_are_told_apart() -> None:
    model = llama()
    frozen = replace(model, layers=tuple(tuple(replace(each, trained=False) for each in one) for one in model.layers))
    first, *_ = lines(make(config(), frozen, 1))
    assert first == "model       llama: 4,200 parameters, 808 of them trained"


def test_a_model_that_cannot_be_cut_is_refused_by_name() -> None:
    whole = replace(llama(), uncuttable="afm7 cannot be cut into stages: layer 8 also reads an output of layer 6")
    assert make(config(), whole, 1).pipeline is None
    with pytest.raises(NoPartition, match="afm7 cannot be cut"):
        make(config(pipeline=2), whole, 2)


def test_memory_that_is_too_small_is_refused_with_every_schedule() -> None:
    with pytest.raises(NoPartition, match="1f1b: no cut of the layers fits"):
        make(config(pipeline=2), llama(), 2, memory_bytes=1000)


def test_rows_cannot_be_packed_for_an_architecture_that_is_known_not_to_allow_it() -> None:
    packed = Config.model_validate({"data": {"batching": "pack"}, "model": {"path": "some/folder"}})
    assert make(packed, llama(), 1).rows
    with pytest.raises(ModelError, match=r'"pack": architecture gpt2 cannot keep .*; use "bucket"'):
        make(packed, replace(llama(), architecture="gpt2"), 1)
