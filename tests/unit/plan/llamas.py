"""Blueprints of llamas, spelled plainly: a plan needs no model to be tested."""

from __future__ import annotations

from runtime.models.blueprint import Blueprint, Tensor


def tensor(name: str, *shape: int, itemsize: int = 4, trained: bool = True) -> Tensor:
    size = itemsize
    for length in shape:
        size *= length
    return Tensor(name, shape, size, trained, len(shape) > 1)


def llama(
    *, layers: int = 4, w: int = 8, i: int = 24, vocabulary: int = 100, itemsize: int = 4, tied: bool = True
) -> Blueprint:
    def layer(number: int) -> tuple[Tensor, ...]:
        at = f"model.layers.{number}"
        square = [f"{at}.self_attn.{name}.weight" for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
        return (
            *(tensor(name, w, w, itemsize=itemsize) for name in square),
            tensor(f"{at}.mlp.gate_proj.weight", i, w, itemsize=itemsize),
            tensor(f"{at}.mlp.up_proj.weight", i, w, itemsize=itemsize),
            tensor(f"{at}.mlp.down_proj.weight", w, i, itemsize=itemsize),
            tensor(f"{at}.input_layernorm.weight", w, itemsize=itemsize),
            tensor(f"{at}.post_attention_layernorm.weight", w, itemsize=itemsize),
        )

    table = tensor("model.embed_tokens.weight", vocabulary, w, itemsize=itemsize)
    norm, head = tensor("model.norm.weight", w, itemsize=itemsize), tensor("lm_head.weight", vocabulary, w)
    return Blueprint(
        architecture="llama",
        layers=tuple(layer(number) for number in range(layers)),
        before=(table,),
        behind=(norm, table if tied else head),
        width=w,
        vocabulary=vocabulary,
        heads=2,
        head_width=w // 2,
        experts=0,
        itemsize=itemsize,
    )
