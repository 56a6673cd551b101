"""[model], [model.scratch], [model.adapter]: what is trained, and which part of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from runtime.config.table import Filled, IntegerChoice, Positive, PositiveNumber, ProperFraction, Table, Texts


class ScratchSettings(Table):
    """A model with random weights, for pre-training, tests and the quickstart. Used when model.path is empty.

    Further keys go to the architecture's config as they are (num_key_value_heads, rope_theta, ...).
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    architecture: Filled = "llama"
    """any model_type of mlx_lm"""
    tokenizer: Filled = "bytes"
    """"bytes" (built in, no download) | a tokenizer folder"""
    hidden_size: Positive = 128
    """width of the residual stream; a multiple of num_attention_heads"""
    num_hidden_layers: Positive = 4
    """transformer blocks"""
    num_attention_heads: Positive = 4
    """attention heads per block"""
    intermediate_size: Positive = 384
    """width of the feed-forward layer"""


def _some_blocks(layers: int) -> int:
    """Refuses 0: mlx_lm takes it for all blocks, and a person means none."""
    if layers == 0:
        raise ValueError("gives no block an adapter; -1 stands for all of them")
    return layers


class AdapterSettings(Table):
    """Which parameters are trained: all of them, or small matrices beside frozen ones."""

    type: Literal["lora", "dora", "full"] = "full"
    """"full" (every parameter) | "lora" | "dora" """
    rank: Positive = 16
    """rank of the added matrices"""
    scale: PositiveNumber = 20.0
    """factor of what the added matrices contribute"""
    dropout: ProperFraction = 0.0
    """on the adapter's input, while training"""
    layers: Annotated[int, Field(ge=-1), AfterValidator(_some_blocks)] = -1
    """how many blocks get one, counted from the last; -1 all"""
    keys: Texts = ()
    """names of the layers that get one; [] -> all linear layers of a block"""


class ModelSettings(Table):
    """The model and its tokenizer."""

    path: str = ""
    """a folder or hub name that mlx_lm.load opens; "" -> [model.scratch]"""
    revision: Filled = "main"
    """branch, tag or commit of a hub model"""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """"auto" (float32 on CPU, bfloat16 elsewhere) | "float32" | "float16" | "bfloat16" """
    quantize_bits: Annotated[Literal[0, 4, 8], IntegerChoice] = 0
    """0 | 4 | 8: a quantised base under LoRA"""
    chat_template: Filled = "auto"
    """"auto" (the tokenizer's own) | path of a .jinja file"""
    stop_tokens: Texts = ()
    """[] -> from template, tokenizer and generation_config"""
    scratch: ScratchSettings = ScratchSettings()
    adapter: AdapterSettings = AdapterSettings()
