from __future__ import annotations

import mlx.core as mx
import pytest

from runtime.optim.flat import FlatLayout, is_embedding

TREE = {
    "model.embed_tokens.weight": mx.arange(6).reshape(3, 2),
    "model.layers.0.mlp.weight": mx.arange(4).reshape(2, 2) + 10,
    "model.layers.10.mlp.weight": mx.arange(4).reshape(2, 2) + 20,
    "model.layers.2.mlp.bias": mx.array(7.0),
    "model.norm.weight": mx.arange(3) + 30,
    "lm_head.weight": mx.zeros((0, 2)),
}


def test_the_order_is_that_of_backward_head_first_embedding_last() -> None:
    assert FlatLayout.of(TREE).names == (
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.10.mlp.weight",
        "model.layers.2.mlp.bias",
        "model.layers.0.mlp.weight",
        "model.embed_tokens.weight",
    )


def test_the_order_of_the_dict_does_not_matter() -> None:
    assert FlatLayout.of(dict(reversed(TREE.items()))) == FlatLayout.of(TREE)


@pytest.mark.parametrize("wrap", [lambda f: f, mx.compile], ids=["eager", "compiled"])
def test_unflatten_undoes_flatten(wrap) -> None:
    layout = FlatLayout.of(TREE)
    flat = wrap(layout.flatten)(TREE)
    assert flat.shape == (layout.size,) == (18,)
    assert flat.dtype == mx.float32
    assert flat[:3].tolist() == [30, 31, 32]
    again = wrap(layout.unflatten)(flat)
    assert set(again) == set(TREE)
    for name, array in TREE.items():
        assert again[name].shape == array.shape
        assert mx.array_equal(again[name], array.astype(mx.float32)).item()


def test_the_offsets_say_where_each_array_lies() -> None:
    layout = FlatLayout.of(TREE)
    flat = layout.flatten(TREE)
    place = layout.names.index("model.layers.10.mlp.weight")
    assert flat[layout.offsets[place] : layout.offsets[place + 1]].tolist() == [20, 21, 22, 23]


def test_one_array_and_none() -> None:
    one = FlatLayout.of({"w": mx.ones((2, 2))})
    assert one.unflatten(one.flatten({"w": mx.ones((2, 2)), "other": mx.ones(3)}))["w"].tolist() == [[1, 1], [1, 1]]
    none = FlatLayout.of({})
    assert none.size == 0
    assert none.unflatten(none.flatten({})) == {}


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="layout of 18 elements"):
        FlatLayout.of(TREE).unflatten(mx.zeros(17))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.embed_tokens.weight", True),
        ("transformer.wpe.weight", True),
        ("tok_embeddings.weight", True),
        ("lm_head.weight", False),
        ("model.layers.0.mlp.weight", False),
    ],
)
def test_what_counts_as_an_embedding(name: str, expected: bool) -> None:
    assert is_embedding(name) is expected
