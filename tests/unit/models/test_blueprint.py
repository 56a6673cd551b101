"""Blueprints of real models that are never evaluated: exact shapes, bytes, ends, whatever the architecture."""

from __future__ import annotations

import pytest
from mlx.utils import tree_flatten

from runtime.config.model import AdapterSettings, ModelSettings
from runtime.errors import ModelError
from runtime.models.blueprint import draw, from_json, to_json
from runtime.models.load import load_model
from tests.unit.models.conftest import scratch, small_model


def test_a_blueprint_is_what_the_loaded_model_consists_of() -> None:
    blueprint = draw(small_model())
    loaded = dict(tree_flatten(load_model(small_model(), seed=1).model.parameters()))
    assert {each.name: (each.shape, each.size_bytes) for each in blueprint.once()} == {
        name: (tuple(value.shape), value.nbytes) for name, value in loaded.items()
    }
    assert (blueprint.architecture, blueprint.width, blueprint.heads, blueprint.head_width) == ("llama", 32, 2, 16)
    assert len(blueprint.layers) == 2
    assert blueprint.vocabulary == loaded["model.embed_tokens.weight"].shape[0]
    assert from_json(to_json(blueprint)) == blueprint


def test_a_tied_table_is_at_both_ends_and_a_head_of_its_own_at_one() -> None:
    tied = draw(small_model())
    assert {each.name for each in tied.before} & {each.name for each in tied.behind} == {"model.embed_tokens.weight"}
    untied = draw(small_model(scratch=scratch(tie_word_embeddings=False)))
    assert {each.name for each in untied.behind} == {"model.norm.weight", "lm_head.weight"}


def test_an_adapter_is_all_that_is_trained_over_a_quantised_base() -> None:
    settings = ModelSettings(
        scratch=scratch(hidden_size=64, intermediate_size=128),
        quantize_bits=4,
        adapter=AdapterSettings(type="lora", rank=2),
    )
    blueprint = draw(settings)
    trained = [each for each in blueprint.once() if each.trained]
    assert {each.name.rpartition(".")[2] for each in trained} == {"lora_a", "lora_b"}
    (q,) = [each for each in blueprint.layers[0] if each.name.endswith("q_proj.linear.weight")]
    assert (q.shape, q.size_bytes) == ((64, 64), 64 * 64 // 2)
    (scales,) = [each for each in blueprint.layers[0] if each.name.endswith("q_proj.linear.scales")]
    assert (scales.elements, scales.size_bytes > 0, scales.is_matrix) == (0, True, False)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be built from these sizes"):
        draw(small_model(scratch=scratch(num_attention_heads=2, num_key_value_heads="x")))
