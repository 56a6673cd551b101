"""What is found in a model's graph, and which models are refused, each for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from runtime.models.anatomy import Uncuttable, examine

WIDTH = 4


class Block(nn.Module):
    """A layer; what is added to its output comes from whoever calls it."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, width)

    def __call__(self, h: mx.array, extra: Any = None) -> Any:
        made = self.inner(h)
        return made if extra is None else made + extra["more"][0]


class Whole(nn.Module):
    """Embedding, three layers, norm and head. `way` replaces the walk through the layers."""

    model_type = "whole"

    def __init__(self, way: Callable[[Any, mx.array], Any] | None = None, *, tied: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(8, WIDTH)
        self.layers = [Block() for _ in range(3)]
        self.norm = nn.RMSNorm(WIDTH)
        if not tied:
            self.head = nn.Linear(WIDTH, 8)
        self._way = way or straight

    def __call__(self, tokens: mx.array) -> Any:
        h = self.norm(self._way(self, self.table(tokens)))
        return self.head(h) if "head" in self else self.table.as_linear(h)


def straight(model: Any, h: mx.array) -> mx.array:
    for layer in model.layers:
        h = layer(h)
    return h


def test_the_ends_are_found_in_the_graph_and_a_tied_table_is_part_of_both() -> None:
    tied, untied = examine(Whole()), examine(Whole(tied=False))
    assert (tied.before, tied.behind) == ({"table.weight"}, {"table.weight", "norm.weight"})
    assert tied.tied == {"table.weight"}
    assert (untied.before, untied.tied) == ({"table.weight"}, frozenset())
    assert untied.behind == {"norm.weight", "head.weight", "head.bias"}
    assert (tied.count, tied.tail, tied.dtype, tied.architecture) == (3, (WIDTH,), mx.float32, "whole")


def test_pieces_own_their_layers_and_their_end() -> None:
    anatomy = examine(Whole())
    assert anatomy.owned(0, 1) == {"table.weight", "layers.0.inner.weight", "layers.0.inner.bias"}
    assert anatomy.owned(1, 2) == {"layers.1.inner.weight", "layers.1.inner.bias"}
    assert anatomy.owned(0, 3) == anatomy.owned(0, 1) | anatomy.owned(1, 2) | anatomy.owned(2, 3)
    with pytest.raises(ValueError, match="layers 2 to 4 of a model with 3"):
        anatomy.owned(2, 4)


def test_what_nothing_reads_belongs_to_the_last_stage() -> None:
    model = Whole()
    model.unused = mx.zeros(3)
    assert "unused" in examine(model).behind


def test_examining_evaluates_nothing_and_leaves_the_model_as_it_was() -> None:
    model = Whole()
    before = mx.get_active_memory()
    classes = [type(layer) for layer in model.layers]
    examine(model)
    assert mx.get_active_memory() - before < 4096, "at most a few keys of the random generator and small constants"
    assert [type(layer) for layer in model.layers] == classes


class Looks(Block):
    """A layer that decides in Python by what it is given."""

    def __call__(self, h: mx.array, extra: Any = None) -> Any:
        return super().__call__(h * 2 if np.array(h).max() > 0 else h, extra)


def test_a_layer_that_looks_at_its_values_does_not_hide_the_embedding() -> None:
    model = Whole(tied=False)
    model.layers = [Looks() for _ in range(2)]
    assert examine(model).before == {"table.weight"}


def test_a_model_may_name_the_argument_of_its_layers() -> None:
    def way(model: Any, h: mx.array) -> mx.array:
        for layer in model.layers:
            h = layer(h=h, extra={"more": (mx.ones(h.shape),)})
        return h

    assert examine(Whole(way)).count == 3


def test_an_activation_may_have_several_streams_per_position() -> None:
    def way(model: Any, h: mx.array) -> mx.array:
        return straight(model, mx.stack([h, h], axis=2)).sum(axis=2)

    assert examine(Whole(way)).tail == (2, WIDTH)


def test_masks_and_constants_beside_the_activation_are_no_obstacle() -> None:
    def way(model: Any, h: mx.array) -> mx.array:
        mask = {"more": (mx.ones(h.shape) * 2, None)}
        for layer in model.layers:
            h = layer(h, mask)
        return h

    assert examine(Whole(way)).count == 3


def reuses(model: Any, h: mx.array) -> mx.array:
    first = model.layers[0](h)
    second = model.layers[1](first)
    return model.layers[2](second, {"more": (first * 2,)})


def reads_the_table(model: Any, h: mx.array) -> mx.array:
    made = model.layers[0](h)
    made = model.layers[1](made, {"more": (h,)})
    return model.layers[2](made)


def adds_between(model: Any, h: mx.array) -> mx.array:
    return model.layers[2](model.layers[1](model.layers[0](h) + 1))


def skips_to_the_head(model: Any, h: mx.array) -> mx.array:
    first = model.layers[0](h)
    return first + model.layers[2](model.layers[1](first))


def backwards(model: Any, h: mx.array) -> mx.array:
    return model.layers[0](model.layers[1](h))


def leaves_out(model: Any, h: mx.array) -> mx.array:
    return model.layers[1](model.layers[0](h))


def flattens(model: Any, h: mx.array) -> mx.array:
    return straight(model, h.reshape(-1, WIDTH))


def fails(_model: Any, _h: mx.array) -> mx.array:
    raise KeyError("pixel_values")


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (reuses, "layer 2 also reads an output of layer 0, past the layers between them"),
        (reads_the_table, "layer 1 also reads table.weight, which belongs to an end of the model"),
        (adds_between, "something is computed between layers 0 and 1"),
        (skips_to_the_head, "its head also reads an output of layer 0"),
        (backwards, "layer 1 is called when it is the turn of layer 0"),
        (leaves_out, "layer 2 is never called"),
        (flattens, r"layer 0 is not given one array of \[rows, positions, ...\]"),
        (fails, r"it cannot be called with tokens alone \('pixel_values'\)"),
    ],
)
def test_a_model_that_is_built_otherwise_is_refused_by_name_with_the_reason(way: Any, why: str) -> None:
    with pytest.raises(Uncuttable, match=f"whole cannot be cut into stages: {why}; leave parallel.pipeline at 1"):
        examine(Whole(way))


class Tuple(Block):
    """A layer that hands on more than the activation."""

    def __call__(self, h: mx.array, extra: Any = None) -> Any:
        return super().__call__(h), None


def test_layers_that_give_more_or_other_than_they_got_are_refused() -> None:
    several, wider = Whole(), Whole()
    several.layers = [Tuple() for _ in range(2)]
    wider.layers = [Block(2 * WIDTH), Block()]
    with pytest.raises(Uncuttable, match="layer 0 hands on more than one array"):
        examine(several)
    with pytest.raises(Uncuttable, match="layer 0 changes the shape or the dtype"):
        examine(wider)


def test_a_model_without_a_list_of_layers_or_with_one_layer_twice_is_refused() -> None:
    none, twice, elsewhere = Whole(), Whole(), Whole()
    none.layers = []
    twice.layers = [twice.layers[0]] * 2
    with pytest.raises(Uncuttable, match="has no list of layers"):
        examine(none)
    with pytest.raises(Uncuttable, match="one and the same module"):
        examine(twice)
    object.__setattr__(elsewhere, "layers", [Block()])
    elsewhere.pop("layers")
    with pytest.raises(Uncuttable, match="its layer 0 is no part of it"):
        examine(elsewhere)


def test_a_model_that_returns_more_than_logits_is_refused() -> None:
    class Pair(Whole):
        def __call__(self, tokens: mx.array) -> Any:
            return super().__call__(tokens), None

    with pytest.raises(Uncuttable, match="does not return one array of logits"):
        examine(Pair())
