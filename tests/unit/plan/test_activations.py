"""What a micro-batch keeps, from the shapes of the weights."""

from __future__ import annotations

from dataclasses import replace

from runtime.plan.activations import (
    Batch,
    Footprint,
    attention_bytes,
    boundary_bytes,
    footprint,
    head_bytes,
    layer_bytes,
    multiplied,
)
from tests.unit.plan.llamas import llama, tensor

BATCH = Batch(rows=2, positions=16)


def test_a_layer_of_a_llama_keeps_what_the_formula_says() -> None:
    w, i, heads = 8, 24, 2
    assert layer_bytes(llama().layers[0], llama(), BATCH) == 4 * 32 * (10 * w + 5 * i + heads * 16)


def test_half_the_bytes_in_half_the_bits() -> None:
    small = llama(itemsize=2)
    assert 2 * layer_bytes(small.layers[0], small, BATCH) == layer_bytes(llama().layers[0], llama(), BATCH)


def test_the_head_keeps_three_arrays_of_the_vocabulary() -> None:
    assert head_bytes(llama(), BATCH) == 4 * 32 * (3 * 100 + 2 * 8)
    assert boundary_bytes(llama(), BATCH) == 4 * 32 * 8


def test_checkpointing_keeps_inputs_and_computes_the_rest_again() -> None:
    model = llama(layers=9)
    whole, boundary, head = layer_bytes(model.layers[0], model, BATCH), 4 * 32 * 8, head_bytes(model, BATCH)
    assert footprint(model.layers, model, BATCH, "layer", has_head=True) == Footprint(9 * boundary + head, 3 * whole)
    assert footprint(model.layers, model, BATCH, "full", has_head=False) == Footprint(
        3 * boundary, 3 * boundary + 3 * whole
    )
    assert footprint(model.layers[:4], model, BATCH, "full", has_head=False).each_bytes == 2 * boundary
    assert Footprint(3, 5).peak_bytes(4) == 17


def test_the_last_layer_needs_more_for_its_attention_on_its_way_back() -> None:
    model, head = llama(), head_bytes(llama(), BATCH)
    scores = attention_bytes(model, BATCH)
    assert scores == 4 * 32 * 2 * 16
    whole = layer_bytes(model.layers[0], model, BATCH)
    assert footprint(model.layers, model, BATCH, "none", has_head=True) == Footprint(4 * whole + head, 3 * scores)
    assert footprint((), model, BATCH, "none", has_head=False) == Footprint(0, 0)


def test_a_token_meets_only_the_experts_that_it_is_sent_to() -> None:
    model, stack = replace(llama(), experts=2), tensor("model.layers.0.mlp.switch_mlp.up_proj.weight", 8, 24, 8)
    assert multiplied(stack, model) == 2 * 24 * 8
    assert multiplied(tensor("norm", 8), model) == 0
    assert layer_bytes([stack], model, BATCH) == 4 * 32 * (2 * 24 + 2 * 8 + 3 * 8 + 2 * 2 * 24 + 2 * 16)


def test_an_adapter_shares_its_input_and_keeps_the_narrow_array_between() -> None:
    base = tensor("model.layers.0.self_attn.q_proj.linear.weight", 6, 8, trained=False)
    pair = [
        tensor("model.layers.0.self_attn.q_proj.lora_a", 8, 2),
        tensor("model.layers.0.self_attn.q_proj.lora_b", 2, 6),
    ]
    both = layer_bytes([base, *pair], llama(), BATCH) - layer_bytes([base], llama(), BATCH)
    assert both == 4 * 32 * (2 + 2)  # lora_a's result, which is lora_b's input; lora_b's own is added at once
    assert [multiplied(each, llama()) for each in pair] == [16, 12]
