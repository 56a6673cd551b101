"""Slices of the flat vector: every element in one piece, and pieces that an optimizer takes for parameters."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest

from runtime.config.train import OptimSettings
from runtime.optim.flat import FlatLayout
from runtime.optim.optimizer import RULES, Optimizer
from runtime.optim.sharding import Slicing, kinds_of, piece_of, span

SHAPES = {"model.embed_tokens.weight": (7, 4), "model.layers.0.w": (3, 5), "model.layers.0.norm": (5,), "head": (4, 2)}


def tree(seed: int) -> dict[str, mx.array]:
    rng = np.random.default_rng(seed)
    return {name: mx.array(rng.standard_normal(shape).astype(np.float32)) for name, shape in SHAPES.items()}


def slicing(count: int) -> Slicing:
    return Slicing(FlatLayout.of(tree(0)), count)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 100])
def test_pieces_cover_every_element_once_and_join_to_what_was_cut(count: int) -> None:
    slices, parameters = slicing(count), tree(1)
    spans = [span(slices.layout.size, count, index) for index in range(count)]
    assert spans[0][0] == 0
    assert spans[-1][1] == slices.layout.size
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    assert max(stop - start for start, stop in spans) - min(stop - start for start, stop in spans) <= 1
    pieces = slices.cut(parameters, range(count))
    assert sum(piece.size for piece in pieces.values()) == slices.layout.size
    joined = slices.joined(pieces, None, {})
    assert all(mx.array_equal(joined[name], parameters[name]) for name in parameters)


def test_a_flat_vector_and_a_host_vector_are_cut_at_the_same_places() -> None:
    slices, parameters = slicing(5), tree(2)
    flat = slices.layout.flatten(parameters)
    cut = slices.cut(parameters, (1, 3))
    again = slices.cut_flat(flat, (1, 3))
    assert cut.keys() == again.keys()
    assert all(mx.array_equal(cut[name], again[name]) for name in cut)
    dtypes = {name: value.dtype for name, value in parameters.items()}
    joined = slices.joined(cut, np.asarray(flat), dtypes)
    assert all(mx.array_equal(joined[name], parameters[name]) for name in parameters)


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule.elementwise))
def test_an_update_of_slices_gives_the_bits_of_an_update_of_everything(name: str) -> None:
    optimizer = Optimizer(OptimSettings(name=name, weight_decay=0.1))
    slices, parameters, gradients = slicing(6), tree(3), tree(4)
    state = optimizer.init(parameters)
    whole, whole_state = optimizer.update(parameters, gradients, state, lr=0.1, step=1)
    everywhere = range(slices.count)
    pieces, kept = slices.cut(parameters, everywhere), slices.cut_state(state, everywhere)
    new, new_state = optimizer.update(pieces, slices.cut(gradients, everywhere), kept, lr=0.1, step=1)
    joined = slices.joined(new, None, {})
    assert all(mx.array_equal(joined[key], whole[key]) for key in whole)
    expected = slices.cut_state(whole_state, everywhere)
    assert new_state.keys() == expected.keys()
    assert all(mx.array_equal(new_state[key], expected[key]) for key in expected)


def test_names_say_where_a_piece_belongs() -> None:
    assert piece_of("m.model.layers.0.w.@12") == ("m", "model.layers.0.w", 12)
    assert kinds_of(["v.a", "m.a", "m.b", "master.a"]) == ("m", "master", "v")
