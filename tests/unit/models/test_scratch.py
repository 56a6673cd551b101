"""Random models: any architecture, the same bits for a seed, and clear refusals."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.config.model import ScratchSettings
from runtime.errors import ModelError
from runtime.models.scratch import architectures, build_model, scratch_config
from tests.unit.models.conftest import scratch

OTHER_SIZES: dict[str, dict[str, Any]] = {
    "gemma3_text": {"sliding_window_pattern": 2},
    "gpt2": {"n_embd": 32, "n_head": 2, "n_layer": 2, "n_positions": 64, "n_ctx": 64, "layer_norm_epsilon": 1e-5},
}


def of_architecture(name: str, **keys: Any) -> ScratchSettings:
    """Small, with only the keys that `name` knows written down."""
    if name == "gpt2":
        return ScratchSettings.model_validate({"architecture": name, **OTHER_SIZES[name], **keys})
    return scratch(architecture=name, **OTHER_SIZES.get(name, {}), **keys)


def config_of(settings: ScratchSettings) -> dict[str, Any]:
    return scratch_config(settings, vocab_size=260, eos_token_ids=[257], pad_token_id=258)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3_text", "phi3", "qwen2", "gemma2", "gpt2"])
def test_an_architecture_of_mlx_lm_is_built_and_predicts_every_token(architecture: str) -> None:
    import mlx.core as mx

    config = config_of(of_architecture(architecture))
    logits = build_model(config, seed=0)(mx.array([[1, 2, 3]]))
    assert logits.shape == (1, 3, config["vocab_size"])
    assert bool(mx.isfinite(logits).all())


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    config = config_of(scratch())

    def parameters(seed: int) -> dict[str, Any]:
        return dict(tree_flatten(build_model(config, seed=seed).parameters()))

    first, again, other = parameters(0), parameters(0), parameters(1)
    assert all(bool(mx.array_equal(first[name], again[name])) for name in first)
    assert not bool(mx.array_equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"]))


def test_further_keys_reach_the_architecture() -> None:
    config = config_of(scratch(num_key_value_heads=1, rope_theta=500.0))
    assert config["rope_theta"] == 500.0
    assert build_model(config, seed=0).args.num_key_value_heads == 1


def test_what_an_architecture_decides_itself_is_left_to_it() -> None:
    assert "rope_theta" not in config_of(scratch(architecture="gemma3_text"))


def test_stop_tokens_and_padding_stand_in_the_config() -> None:
    config = config_of(scratch())
    assert (config["eos_token_id"], config["pad_token_id"], config["vocab_size"]) == ([257], 258, 260)
    assert "pad_token_id" not in scratch_config(scratch(), vocab_size=9, eos_token_ids=[1], pad_token_id=None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": "lama"}, r"mlx_lm has no architecture 'lama'; did you mean llama\?"),
        ({"architecture": "zzzzzz"}, r"mlx_lm has no architecture 'zzzzzz'; see mlx_lm/models"),
        (
            {"rope_thetta": 1.0},
            r"model\.scratch\.rope_thetta: unknown to .* llama; did you mean rope_theta\?",
        ),
        ({"xyzzy": 1}, r"model\.scratch\.xyzzy: unknown to .* it takes .*hidden_size"),
        ({"vocab_size": 100}, r"model\.scratch\.vocab_size: 100 is smaller than the tokenizer's 260"),
    ],
)
def test_a_wrong_table_is_refused_by_name(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        config_of(scratch(**change))


def test_what_an_architecture_needs_beyond_the_table_is_named() -> None:
    with pytest.raises(ModelError, match=r"architecture mamba also needs .*state_size"):
        config_of(ScratchSettings(architecture="mamba"))


def test_sizes_that_do_not_fit_are_refused_with_the_architectures_own_words() -> None:
    with pytest.raises(ModelError, match="llama cannot be built from these sizes"):
        build_model(config_of(scratch(num_attention_heads=4, num_key_value_heads=3)), seed=0)


def test_sizes_that_only_fail_in_use_are_refused_at_once() -> None:
    with pytest.raises(ModelError, match="gemma3_text cannot be built from these sizes"):
        build_model(config_of(scratch(architecture="gemma3_text")), seed=0)


def test_a_default_size_that_the_architecture_does_not_know_is_left_out_but_a_written_one_is_refused() -> None:
    assert "hidden_size" not in config_of(of_architecture("gpt2"))
    with pytest.raises(ModelError, match=r"model\.scratch\.hidden_size: unknown to architecture gpt2"):
        config_of(of_architecture("gpt2", hidden_size=32))


def test_the_list_of_architectures_names_models_only() -> None:
    assert {"llama", "qwen3", "gemma3_text"} <= set(architectures())
    assert "cache" not in architectures()
