"""Which architectures of the installed mlx_lm can be cut into pipeline stages: a table, over all of them. By hand:

    python -P -m tests.benchmarks.architectures [--structure] [NAME ...]

Each is built with tiny sizes and random weights. Where `examine` finds a model that can be cut, it is cut in two after
its first layer, and loss and gradients are compared with the uncut model's. `--structure` leaves the numbers out.
tests/fixtures/architectures.txt is what it found on a CPU, with MLX_DISABLE_COMPILE=1.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from runtime.models.anatomy import Anatomy, Uncuttable, examine
from runtime.models.host_copies import bytes_of
from runtime.models.piece import Piece, Tree
from runtime.models.scratch import architectures
from runtime.trainer.gradients import row_losses, trainable

RTOL, ATOL = 1e-5, 4e-5
LAYERS = 4
ATTENTION = "full_attention"
LAYER_KINDS = (ATTENTION, "sliding_attention")

SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": LAYERS, "intermediate_size": 32, "head_dim": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "norm_eps": 1e-5, "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5, "layernorm_epsilon": 1e-5, "max_position_embeddings": 64, "rope_theta": 1e4,
    "rope_traditional": False, "rotary_emb_base": 10000, "rotary_pct": 0.5, "partial_rotary_factor": 0.5,
    "rotary_dim": 4, "attention_bias": False, "mlp_bias": False, "use_bias": False, "bias": False,
    "use_qkv_bias": False,
    "tie_word_embeddings": True, "rope_scaling": None, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
    "n_embd": 32, "n_head": 4, "n_layer": LAYERS, "n_positions": 64, "n_ctx": 64, "n_inner": 32, "num_layers": LAYERS,
    "hidden_dim": 32, "ffn_hidden_size": 32, "d_model": 32, "n_layers": LAYERS, "n_heads": 4, "num_heads": 4,
    "num_kv_heads": 2, "max_seq_len": 64, "max_sequence_length": 64, "sliding_window": 4, "sliding_window_pattern": 2,
    "layer_types": list(LAYER_KINDS) * (LAYERS // 2), "query_pre_attn_scalar": 8, "logit_scale": 1.0,
    "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "embedding_multiplier": 1.0,
    "logits_scaling": 1.0, "attention_multiplier": 0.3, "residual_multiplier": 1.0, "use_qk_norm": True,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_topk": 2,
    "moe_intermediate_size": 32, "n_shared_experts": 1, "num_shared_experts": 1, "shared_expert_intermediate_size": 32,
    "shared_intermediate_size": 32, "norm_topk_prob": True, "first_k_dense_replace": 1, "decoder_sparse_step": 1,
    "moe_layer_freq": 1, "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
    "scoring_func": "sigmoid", "score_function": "sigmoid", "mlp_only_layers": [], "moe_num_experts": 4, "moe_k": 2,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8,
    "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_num_heads": 4, "mamba_head_dim": 8, "mamba_dt_rank": 4,
    "mamba_proj_bias": False, "mamba_conv_bias": True, "ssm_state_size": 8, "state_size": 8, "conv_kernel": 4,
    "time_step_limit": [0.0, 100.0], "time_step_rank": 4, "time_step_min": 0.001, "time_step_max": 0.1, "n_groups": 1,
    "use_conv_bias": True, "expand": 2, "chunk_size": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, "full_attention_interval": 2,
    "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
    "layer_group_size": 2, "group_norm_size": 1, "post_norm": True, "qk_norm": True, "scale_emb": 1.0,
    "dim_model_base": 16, "scale_depth": 1.0, "block_dim": 32, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False, "block_ff_dim": 32, "intermediate_size_mlp": 32, "no_rope_layers": [1, 0, 1, 0],
    "attention_chunk_size": 8, "interleave_moe_layer_step": 1, "attention_method": "MLA", "zero_expert_num": 1,
    "zero_expert_type": "identity", "expert_ffn_hidden_size": 32, "mla_scale_q_lora": True, "mla_scale_kv_lora": True,
    "index_head_dim": 8, "index_n_heads": 2, "index_topk": 4, "is_moe_layer": [False, True, True, True],
    "num_shared_expert": 1, "use_mixed_mlp_moe": True, "use_cla": False, "cla_share_factor": 2, "block_size": 64,
    "n_kv_heads": 2, "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2, "moe_jitter_eps": 0.0},
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4}, "hybrid_layer_pattern": [0, 1, 0, 1],
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8, "swa_v_head_dim": 8,
    "swa_rope_theta": 1e4, "add_swa_attention_sink_bias": True, "add_full_attention_sink_bias": False,
    "sliding_window_size": 4, "post_norm_eps": 1e-5, "layer_rope_theta": [1e4] * LAYERS, "output_multiplier": 1.0,
    "linear_attn_config": {"num_heads": 4, "head_dim": 8, "kda_layers": [1], "short_conv_kernel_size": 4},
    "moe_hidden_size": 32,
    "num_kv_shared_layers": 0, "rope_local_base_freq": 1e4, "activation_sparsity_pattern": [0.5] * LAYERS,
    "altup_num_inputs": 2, "altup_coef_clip": None, "altup_correct_scale": True, "altup_active_idx": 0,
    "global_head_dim": 8, "num_global_key_value_heads": 2, "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 64, "model_max_length": 64, "conv_bias": False, "conv_L_cache": 3,
    "norm_type": "rms_norm", "hidden_act": "silu", "eos_token_id": 1,
}  # fmt: skip
"""What most architectures are asked for under one of its names; each takes what it knows."""

WRAPPED = {"lfm2-vl": "lfm2", "mistral3": "ministral3", "gemma3": "gemma3_text", "gemma4": "gemma4_text"}
"""The text models of some that wrap another architecture."""
TEXT = ("text_config", "language_config", "llm_config")
SCALED = {"rope_theta": 1e4, "rope_type": "default", "llama_4_scaling_beta": 0.1}
WITH_BETA = {"rope_parameters": {**SCALED, "original_max_position_embeddings": 64}}
BY_KIND = {"rope_parameters": {kind: {"rope_theta": 1e4, "rope_type": "default"} for kind in LAYER_KINDS}}
WITH_CONVOLUTIONS = {"layer_types": ["conv", ATTENTION] * 2}
BLOCK = {
    "attention": {"n_heads_in_group": 2, "no_op": False, "replace_with_linear": False},
    "ffn": {"ffn_mult": 1.0, "no_op": False, "replace_with_linear": False},
}
OWN: dict[str, dict[str, Any]] = {
    "afm7": {"num_kv_reuse_layers": 2, "num_kv_heads": 2},
    "baichuan_m1": {"tie_word_embeddings": False, "sliding_window_layers": [0, 2], "conv_window": 2},
    "deepseek_v2": {"rope_scaling": {"type": "linear", "factor": 1.0}},
    "exaone4": {"sliding_window_pattern": "LG"},
    "gemma3n": {"laurel_rank": 4},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "hunyuan": {"rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 1.0}},
    "kimi_k3": {"hidden_act": "situ"},
    "lfm2": WITH_CONVOLUTIONS,
    "lfm2-vl": WITH_CONVOLUTIONS,
    "lfm2_moe": {**WITH_CONVOLUTIONS, "num_dense_layers": 1, "use_expert_bias": True},
    "lille-130m": {"n_embd": 256},
    "llama4": {"num_experts_per_tok": 1},
    "mamba": {"state_size": 8, "intermediate_size": 64},
    "mellum": BY_KIND,
    "mimo_v2_flash": {"moe_layer_freq": [0, 1, 0, 1]},
    "minicpm3": {"rope_scaling": {"type": "linear", "factor": 1.0}},
    "minimax_m3_vl": {"moe_layer_freq": [0, 1, 0, 1]},
    "ministral3": WITH_BETA,
    "mistral3": WITH_BETA,
    "mistral4": WITH_BETA,
    "muse_spark": {"mlp_layer_types": ["sparse"] * LAYERS, "num_shared_experts": 0},
    "nemotron-nas": {"block_configs": [BLOCK] * LAYERS},
    "nemotron_h": {"hybrid_override_pattern": ["M", "*", "-", "M"]},
    "olmo_hybrid": {"linear_allow_neg_eigval": True, "layer_types": ["linear_attention", ATTENTION] * 2},
    "openelm": {
        "num_transformer_layers": LAYERS, "model_dim": 32, "ffn_dim_divisor": 8, "num_query_heads": [4] * LAYERS,
        "num_kv_heads": [2] * LAYERS, "ffn_multipliers": [1.0] * LAYERS,
    },
    "phixtral": {"model_dim": 32, "num_vocab": 64},
    "phi3small": {"dense_attention_every_n_layers": 1, "ff_intermediate_size": 32, "gegelu_limit": 20.0},
    "recurrent_gemma": {
        "attention_window_size": 4, "block_types": ["recurrent", "attention"], "conv1d_width": 4, "lru_width": 32,
        "logits_soft_cap": 30.0, "embeddings_scale_by_sqrt_dim": True,
    },
    "plamo": {"n_shared_head": 2},
    "qwen": {"kv_channels": 8},
    "spark2_5": {"hidden_act": "gelu", **BY_KIND},
    "step3p5": {"num_attention_groups": 2, "moe_top_k": 2},
    "rwkv7": {"decay_low_rank_dim": 8, "gate_low_rank_dim": 8, "a_low_rank_dim": 8, "v_low_rank_dim": 8},
}  # fmt: skip
"""Where the common sizes do not fit."""


CRASHES = {"phi3small": "with tiny sizes its own kernel corrupts the heap of the process, cut or not"}
LARGEST = 20_000_000
"""Elements of a model that is worth evaluating: one that took its own default sizes is not tiny."""


def config_of(name: str) -> dict[str, Any]:
    """A tiny `config.json` for an architecture; multimodal ones find their text model's in it, too."""
    plain = {**SIZES, **OWN.get(name, {}), "model_type": name}
    inner = {**plain, "model_type": WRAPPED.get(name, name)}
    return {**plain, **dict.fromkeys(TEXT, inner)}


def build(name: str) -> Any:
    """The architecture with random weights, lazy. Raises whatever its own code does."""
    from mlx_lm.utils import _get_classes

    config = config_of(name)
    model_class, args_class = _get_classes(config)
    mx.random.seed(1)
    return model_class(args_class.from_dict(config))


def worst_of(model: Any, anatomy: Anatomy) -> float:
    """The largest |difference| / (ATOL + RTOL |expected|) of losses and gradients; up to 1 is as good as equal."""
    mx.eval(model.parameters())
    parameters = trainable(model)
    tokens_BT, mask_BT = mx.random.randint(1, SIZES["vocab_size"], (2, 7)), mx.ones((2, 7))

    def loss(given: Tree) -> tuple[mx.array, mx.array]:
        model.update(tree_unflatten(list(given.items())))
        losses_B = row_losses(model(tokens_BT[:, :-1]), tokens_BT, mask_BT)
        return losses_B.sum(), losses_B

    (_, losses_B), expected = mx.value_and_grad(loss)(parameters)
    model.update(tree_unflatten(list(parameters.items())))
    mx.eval(losses_B, expected)
    first, last = (Piece(model, anatomy, *bounds, row_losses) for bounds in ((0, 1), (1, anatomy.count)))
    below = first.forward(parameters, tokens_BT, mask_BT, None)
    mx.eval(below.output)
    above = last.forward(parameters, tokens_BT, mask_BT, first.received(bytes_of(below.output), tokens_BT))
    mx.eval(above.output)
    assert above.into_input is not None
    mx.eval(above.into_input)
    below.give(bytes_of(above.into_input))
    got = dict(below.weights)
    for name, value in above.weights.items():
        got[name] = got[name] + value if name in got else value
    assert got.keys() == expected.keys()
    pairs = [(above.output, losses_B), *((got[name], value) for name, value in expected.items())]
    return max(float((mx.abs(one - other) / (ATOL + RTOL * mx.abs(other))).max().item()) for one, other in pairs)


def verdict(name: str, *, numbers: bool) -> tuple[str, str]:
    """(`cut`, `refused`, `differs` or `not tried`, the rest of the row)."""
    if name in CRASHES:
        return "not tried", CRASHES[name]
    try:
        model = build(name)
        if sum(value.size for _, value in tree_flatten(model.parameters())) > LARGEST:
            return "not tried", "it did not take the tiny sizes"
        model(mx.zeros((1, 4), mx.int32))  # lazy: what fails here fails without a pipeline, too
    except (Exception, SystemExit) as error:  # whatever an architecture does when its sizes or packages do not fit
        return "not tried", f"the tiny sizes do not fit it ({type(error).__name__}: {str(error)[:90]})"
    try:
        anatomy = examine(model)
    except Uncuttable as error:
        return "refused", str(error).partition("stages: ")[2].partition("; leave")[0]
    ends = "tied" if anatomy.tied else "untied"
    if not numbers:
        return "cut", ends
    try:
        worst = worst_of(model, anatomy)
    except Exception as error:  # an operation without a gradient, for instance
        return "not tried", f"the uncut model gives no gradients ({type(error).__name__}: {str(error)[:90]})"
    return ("cut" if worst <= 1 else "differs"), f"{ends}, worst difference {worst:.2g} of the tolerance"


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit code 1 when a cut model differs from the uncut one."""
    names = [each for each in arguments if not each.startswith("-")] or architectures()
    counts: Counter[str] = Counter()
    for name in names:
        kind, rest = verdict(name, numbers="--structure" not in arguments)
        counts[kind] += 1
        print(f"{name:22} {kind:10} {rest}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 1 if counts["differs"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
