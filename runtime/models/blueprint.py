"""A model's parts without the model: every tensor's name, shape and bytes, and which layer it belongs to.

Whoever plans a run must not load MLX, let alone a model: it asks a child process (`python -P -m
runtime.models.blueprint`, the settings as JSON on stdin), which builds the configured model, quantised and with its
adapter, without evaluating anything, and prints what it would consist of. So a plan is exact for every architecture of
mlx_lm, whatever its size.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.config.model import ModelSettings
from runtime.errors import ModelError


@dataclass(frozen=True)
class Tensor:
    """One parameter."""

    name: str
    shape: tuple[int, ...]
    """Of what it stands for: a matrix of packed 4-bit numbers has as many elements as before it was quantised, and its
    scales and offsets stand for nothing of their own, (0,)."""
    size_bytes: int
    trained: bool
    is_matrix: bool
    """Whether tokens are multiplied with it (of an embedding: looked up in it)."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Blueprint:
    """What a model consists of."""

    architecture: str
    layers: tuple[tuple[Tensor, ...], ...]
    before: tuple[Tensor, ...]
    """What the first layer's input is made of: the embedding."""
    behind: tuple[Tensor, ...]
    """What stands behind the last layer: norm, head; a tied table is in both."""
    width: int
    """Of the array that layers hand on."""
    vocabulary: int
    heads: int
    """Attention heads of a layer; 0 where the architecture's configuration does not say."""
    head_width: int
    experts: int
    """Experts that a token is sent to in each layer; 0 for a model without."""
    itemsize: int
    """Bytes of one element of an activation."""
    uncuttable: str = ""
    """Why it cannot be cut into stages, in words; empty when it can."""

    def once(self) -> tuple[Tensor, ...]:
        """Every tensor once, also a tied one."""
        named = {tensor.name: tensor for part in (self.before, *self.layers, self.behind) for tensor in part}
        return tuple(named.values())


def to_json(blueprint: Blueprint) -> str:
    """One line of JSON that `from_json` reads back."""
    return json.dumps(asdict(blueprint))


def from_json(text: str) -> Blueprint:
    """What `to_json` wrote."""
    given = json.loads(text)
    parts = {name: _tensors(given[name]) for name in ("before", "behind")}
    return Blueprint(**{**given, **parts, "layers": tuple(_tensors(layer) for layer in given["layers"])})


def draw(settings: ModelSettings) -> Blueprint:
    """The blueprint of the configured model as this machine would compute with it.

    Imports mlx and mlx_lm; evaluates nothing.

    Raises ModelError for whatever is missing, unknown or broken.
    """
    from runtime.models.adapter import attach
    from runtime.models.device import DeviceKind, default_kind
    from runtime.models.load import resolve_dtype
    from runtime.models.quantized import quantize

    model, config = _hollow(settings)
    import mlx.core as mx

    dtype = resolve_dtype(settings.dtype)
    parameters_in = getattr(mx, dtype)
    model.set_dtype(parameters_in)
    if settings.quantize_bits:
        config = quantize(model, config, settings.quantize_bits)
    attach(model, settings.adapter, seed=0, dtype=dtype)
    on_cpu = default_kind() is DeviceKind.CPU  # where 16 bit are for storage alone
    return describe(model, config, mx.float32.size if on_cpu else parameters_in.size)


def ask(settings: ModelSettings) -> Blueprint:
    """The same from a child process: this one need not load MLX. Raises ModelError with the child's sentence."""
    words = [sys.executable, "-P", "-m", "runtime.models.blueprint"]
    child = subprocess.run(words, input=settings.model_dump_json(), capture_output=True, text=True, check=False)
    if child.returncode:
        raise ModelError(child.stderr.strip().rpartition("\n")[2] or "the child that plans the model died")
    return from_json(child.stdout.strip().rpartition("\n")[2])


def main() -> None:
    """The child: settings on stdin, a blueprint on stdout; or one sentence on stderr and exit code 1."""
    settings = ModelSettings.model_validate_json(sys.stdin.read())
    try:
        blueprint = draw(settings)
    except ModelError as error:
        sys.exit(str(error))
    print(to_json(blueprint))


def _tensors(given: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(**{**each, "shape": tuple(each["shape"])}) for each in given)


def _hollow(settings: ModelSettings) -> tuple[Any, dict[str, Any]]:
    """A model that was never evaluated, and its configuration."""
    from runtime.models.load import find_folder, load_tokenizer
    from runtime.models.scratch import scratch_config

    folder = find_folder(settings.path, settings.revision) if settings.path else None
    from mlx_lm.utils import _get_classes
    from mlx_lm.utils import load_model as open_weights

    if folder is not None:
        try:
            model, config = open_weights(folder, lazy=True)
        except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
            raise ModelError(f"{folder}: the model cannot be opened: {error}") from error
        return model, dict(config)
    tokenizer = load_tokenizer(settings)
    config = scratch_config(settings.scratch, vocab_size=len(tokenizer), eos_token_ids=[], pad_token_id=None)
    model_class, args_class = _get_classes(config)
    try:
        return model_class(args_class.from_dict(config)), config
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, ZeroDivisionError) as error:
        name = settings.scratch.architecture
        raise ModelError(f"model.scratch: {name} cannot be built from these sizes: {error}") from error


def describe(model: Any, config: Mapping[str, Any], itemsize: int) -> Blueprint:
    """The blueprint of a model that is there, evaluated or lazy: a worker need not ask a child.

    `config` is its config.json, `itemsize` the bytes of one element of what it computes with. Raises ModelError for a
    model without an embedding of tokens.
    """
    from runtime.models.anatomy import Uncuttable, examine

    tensors, uncuttable = _all_tensors(model), ""
    try:
        anatomy = examine(model)
        layers, before, behind = anatomy.layers, anatomy.before, anatomy.behind
    except Uncuttable as error:  # its memory can be planned nevertheless
        uncuttable = str(error)
        layers, before, behind = (tuple(tensors),), frozenset(), frozenset()
    table = _table(model, before)
    text = config.get("text_config", config)
    heads = int(_first(text, "num_attention_heads", "n_heads", "n_head", "num_heads"))
    return Blueprint(
        architecture=str(config.get("model_type", type(model).__module__.rpartition(".")[2])),
        layers=tuple(tuple(tensors[name] for name in layer) for layer in layers),
        before=tuple(tensors[name] for name in tensors if name in before),
        behind=tuple(tensors[name] for name in tensors if name in behind),
        width=tensors[table].shape[-1],
        vocabulary=tensors[table].shape[-2],
        heads=heads,
        head_width=int(_first(text, "head_dim")) or tensors[table].shape[-1] // max(heads, 1),
        experts=int(_first(text, "num_experts_per_tok", "num_experts_per_token", "top_k_experts")),
        itemsize=itemsize,
        uncuttable=uncuttable,
    )


def _table(model: Any, before: frozenset[str]) -> str:
    """The name of the embedding's weight: where the first layer's input is looked up."""
    from mlx import nn

    kinds = nn.Embedding | nn.QuantizedEmbedding
    tables = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)]
    if not tables:
        raise ModelError("the model has no embedding of tokens, so nothing can be planned for it")
    return next((name for name in tables if name in before), tables[0])


def _all_tensors(model: Any) -> dict[str, Tensor]:
    from mlx.utils import tree_flatten

    trained = {name for name, _ in tree_flatten(model.trainable_parameters())}
    bits = {name: module.bits for name, module in model.named_modules() if "scales" in module}
    found = {}
    for name, value in tree_flatten(model.parameters()):
        owner, _, part = name.rpartition(".")
        shape = tuple(value.shape)
        if owner in bits and part in {"scales", "biases"}:
            shape = (0,)
        elif owner in bits and part == "weight":
            shape = (*shape[:-1], shape[-1] * 32 // bits[owner])
        is_matrix = len(shape) >= 2 and "conv" not in name
        found[name] = Tensor(name, shape, int(value.nbytes), name in trained, is_matrix)
    return found


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name)), 0)


if __name__ == "__main__":
    main()
