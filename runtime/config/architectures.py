"""What is known of mlx_lm's architectures before one of them is built: the result of tests/benchmarks/packable.py."""

from __future__ import annotations

NOT_PACKABLE = frozenset(
    {
        "afm7", "baichuan_m1", "bailing_hybrid", "bailing_moe_linear", "bailing_moe_v3", "deepseek_v32",
        "deepseek_v41", "falcon_h1", "gemma2", "glm_moe_dsa", "gpt2", "gpt_bigcode", "granitemoehybrid",
        "hunyuan", "hunyuan_v1_dense", "iquestloopcoder", "jamba", "kimi_linear", "lfm2", "lfm2-vl", "lfm2_moe",
        "llama4", "longcat_flash", "longcat_flash_ngram", "mamba", "mamba2", "minimax_m3_vl", "nemotron_h",
        "olmo_hybrid", "plamo2", "qwen3_5", "qwen3_5_moe", "qwen3_next", "recurrent_gemma", "rwkv7",
    }
)  # fmt: skip
"""Cannot hold several samples in a row: most keep a state along it (Mamba, convolutions, linear attention) or a cache
of their own kind; gpt2 and gpt_bigcode learn positions; gemma2 takes no mask per row; hunyuan scales rotated queries,
so that positions count by more than their differences. What is not named here is examined when a run starts."""

KNOWN_BY_NAME = "known by its name"


def unpackable(name: str, reason: str) -> str:
    """The fact that refuses `name`."""
    return f'data.batching = "pack": architecture {name} cannot keep the samples of a row apart ({reason})'
