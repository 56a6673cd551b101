"""What is trained when an adapter is configured, and what identifies the base that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from runtime.config.model import AdapterSettings
from runtime.errors import ModelError
from runtime.models.adapter import adapter_config
from runtime.models.base import base_hash, base_name
from runtime.models.load import Loaded, load_base, load_model, write_model_folder
from runtime.models.quantized import bits_of, parameter_count
from tests.unit.models.conftest import scratch, small_model

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapted(kind: str = "lora", bits: int = 0, seed: int = 7, path: str = "", **keys: Any) -> Loaded:
    """A small model of two blocks, 64 wide, with an adapter."""
    settings = AdapterSettings.model_validate({"type": kind, "rank": 2, **keys})
    model = small_model(adapter=settings, quantize_bits=bits, path=path, scratch=scratch(hidden_size=64))
    return load_model(model, seed)


def trained(loaded: Loaded) -> dict[str, mx.array]:
    return dict(tree_flatten(loaded.model.trainable_parameters()))


def test_full_trains_every_parameter_embeddings_and_norms_included(tiny: Loaded) -> None:
    assert trained(tiny).keys() == dict(tree_flatten(tiny.model.parameters())).keys()
    assert tiny.base_hash == ""


@pytest.mark.parametrize(("kind", "bits", "parts"), [("lora", 0, 2), ("lora", 4, 2), ("dora", 0, 3), ("dora", 8, 3)])
def test_an_adapter_trains_its_own_matrices_in_every_linear_layer_and_nothing_else(
    kind: str, bits: int, parts: int
) -> None:
    found = trained(adapted(kind, bits))
    assert len(found) == 2 * len(PROJECTIONS) * parts
    assert {name.rsplit(".", 1)[-1] for name in found} == {"lora_a", "lora_b", "m"} - ({"m"} if parts == 2 else set())
    assert all(value.dtype == mx.float32 for value in found.values())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_untrained_adapter_changes_nothing(kind: str) -> None:
    base = load_base(small_model(scratch=scratch(hidden_size=64)), 7).model
    tokens = mx.array([[1, 2, 3]])
    assert mx.allclose(adapted(kind).model(tokens), base(tokens), rtol=1e-5, atol=1e-5)


def test_the_start_of_an_adapter_is_a_function_of_the_seed(tmp_path: Path, tiny: Loaded) -> None:
    write_model_folder(tmp_path, tiny, dict(tree_flatten(tiny.model.parameters())))  # a base that no seed has made

    def start(seed: int) -> dict[str, list[Any]]:
        return {name: value.tolist() for name, value in trained(adapted(seed=seed, path=str(tmp_path))).items()}

    assert start(7) == start(7) != start(8)


def test_layers_counts_blocks_from_the_last_and_keys_name_layers_of_block_and_model() -> None:
    last = trained(adapted(layers=1, keys=["self_attn.q_proj", "model.embed_tokens"]))
    assert {name.rsplit(".", 1)[0] for name in last} == {"model.layers.1.self_attn.q_proj", "model.embed_tokens"}


def test_a_key_that_the_model_has_not_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(
        ModelError, match=r'no layer "q_proj"; did you mean self_attn.q_proj\? There are mlp.down_proj,'
    ):
        adapted(keys=["q_proj"])
    with pytest.raises(ModelError, match=r'no layer "nothing_like_it"; there are mlp.*model.embed_tokens'):
        adapted(keys=["nothing_like_it"])


def test_more_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model.adapter.layers: 3, but the model has 2 blocks; -1 means all"):
        adapted(layers=3)


def test_what_mlx_lm_cannot_adapt_is_refused_in_a_sentence() -> None:
    mixture = scratch(architecture="mixtral", num_local_experts=2, num_experts_per_tok=1, hidden_size=64)
    settings = AdapterSettings(type="dora", rank=2)
    with pytest.raises(ModelError, match=r"model.adapter: .*DoRA.*; name other layers in model.adapter.keys"):
        load_model(small_model(scratch=mixture, adapter=settings), 0)


def test_a_quantised_base_is_counted_as_what_it_stands_for_and_says_so_in_its_config() -> None:
    plain, packed = adapted(), adapted(bits=4)
    assert parameter_count(packed.model) == parameter_count(plain.model)
    assert (bits_of(plain.config), bits_of(packed.config)) == (0, 4)
    bytes_of = [sum(value.nbytes for _, value in tree_flatten(each.model.parameters())) for each in (plain, packed)]
    assert bytes_of[1] < 0.3 * bytes_of[0]


def test_a_quantised_folder_is_opened_at_its_bits_and_not_trained_itself(tmp_path: Path) -> None:
    packed = load_base(small_model(quantize_bits=8, scratch=scratch(hidden_size=64)), 7)
    write_model_folder(tmp_path, packed, dict(tree_flatten(packed.model.parameters())))
    same = adapted(path=str(tmp_path))
    assert same.base_hash == adapted(bits=8, path=str(tmp_path)).base_hash == adapted(bits=8).base_hash
    with pytest.raises(ModelError, match="is in 8 bits already; set it to 8"):
        adapted(bits=4, path=str(tmp_path))
    with pytest.raises(ModelError, match="is in 8 bits, which cannot be trained themselves"):
        adapted("full", path=str(tmp_path))


def test_a_model_too_narrow_to_be_quantised_is_refused() -> None:
    with pytest.raises(ModelError, match="no layer of this model has a width that is a multiple of 64"):
        load_base(small_model(quantize_bits=4, scratch=scratch(intermediate_size=48)), 7)


def test_the_hash_of_a_base_sees_every_bit_and_every_place() -> None:
    def of(values: list[float], dtype: Any = mx.float32, name: str = "a") -> str:
        return base_hash({name: mx.array(values, dtype)})

    known = of([1.0, 2.0, 3.0])
    assert of([1.0, 2.0, 3.0]) == known
    others = {of([1.0, 2.0, 3.0000002]), of([2.0, 1.0, 3.0]), of([1.0, 2.0, 3.0], name="b")}
    others |= {of([1.0, 2.0, 3.0], mx.bfloat16), of([1.0, 2.0]), of([1.0, 2.0, 3.0, 0.0])}
    assert len(others | {known}) == 7


def test_a_base_is_named_by_where_it_came_from_and_its_bits() -> None:
    lora = AdapterSettings(type="lora")
    assert base_name(small_model(path="org/name", revision="v2")) == ""
    assert base_name(small_model(path="org/name", revision="v2", adapter=lora)) == "org/name@v2"
    assert base_name(small_model(path="org/name", adapter=lora, quantize_bits=4)) == "org/name@main in 4 bits"
    one, other = (small_model(adapter=lora, scratch=scratch(hidden_size=size)) for size in (32, 64))
    assert base_name(one).startswith("random weights of [model.scratch] ")
    assert base_name(one) != base_name(other)


def test_adapter_config_says_what_mlx_lm_asks_for() -> None:
    settings = AdapterSettings(type="dora", rank=4, scale=2.0, keys=("self_attn.q_proj",))
    assert adapter_config(adapted().model, settings) == {
        "fine_tune_type": "dora",
        "num_layers": 2,
        "lora_parameters": {"rank": 4, "scale": 2.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]},
    }
