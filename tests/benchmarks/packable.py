"""Which architectures of the installed mlx_lm can hold several samples in a row: a table, over all of them. By hand:

    python -P -m tests.benchmarks.packable [NAME ...]

Each is built with tiny sizes and random weights and examined as at the start of a run. What passes must have the loss
and the gradients of its samples alone; the last line names what `runtime.config.architectures` should name.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from runtime.config.architectures import NOT_PACKABLE
from runtime.data.packing import fill
from runtime.errors import ModelError
from runtime.flow import Packing
from runtime.models.packed import refuse_unpackable
from runtime.models.scratch import architectures
from runtime.trainer.gradients import GradientFunctions, Tree, trainable
from tests.benchmarks.architectures import CRASHES, LARGEST, SIZES, build

RTOL = 1e-4
LENGTHS = (9, 6, 3, 8, 2)
ROWS = ((0, 1, 2), (3, 4))
TOKENS = 20


def worst_of(model: Any) -> float:
    """The largest |difference| of losses and gradients, in parts of the largest number of its array."""
    draw = np.random.default_rng(3)
    samples = [
        (draw.integers(1, SIZES["vocab_size"], n).astype(np.int32), np.r_[0, np.ones(n - 1)].astype(np.uint8))
        for n in LENGTHS
    ]
    functions, parameters = GradientFunctions(model, compiled=False), trainable(model)
    loss, alone = 0.0, None
    for ids, mask in samples:
        losses_B, alone = functions.add(parameters, alone, ids[None], mask[None].astype(np.float32))
        loss += float(losses_B.sum().item())
    packed = fill([[samples[number] for number in row] for row in ROWS], TOKENS)
    losses_BS, together = functions.add(
        parameters, None, packed.tokens_BT, packed.mask_BT, packing=Packing(packed.segments_BT, packed.positions_BT, ())
    )
    assert alone is not None
    return max(abs(float(losses_BS.sum().item()) / loss - 1), *_differences(together, alone))


def _differences(found: Tree, expected: Tree) -> list[float]:
    scale = max(float(mx.abs(value).max().item()) for value in expected.values())
    return [float(mx.abs(found[name] - value).max().item()) / scale for name, value in expected.items()]


def verdict(name: str) -> tuple[str, str]:
    """(`packed`, `refused`, `differs` or `not tried`, the rest of the row)."""
    if name in CRASHES:
        return "not tried", CRASHES[name]
    try:
        model = build(name)
        if sum(value.size for _, value in tree_flatten(model.parameters())) > LARGEST:
            return "not tried", "it did not take the tiny sizes"
        model(mx.zeros((1, 4), mx.int32))  # lazy: what fails here fails without packing, too
    except (Exception, SystemExit) as error:  # whatever an architecture does when its sizes or packages do not fit
        return "not tried", f"the tiny sizes do not fit it ({type(error).__name__}: {str(error)[:90]})"
    mx.eval(model.parameters())
    try:
        refuse_unpackable(model, name)
    except ModelError as error:
        return "refused", f"{error} [{error.__cause__!r:.90}]"
    try:
        worst = worst_of(model)
    except Exception as error:  # its own code again, in the backward pass
        return "differs", f"{type(error).__name__}: {str(error)[:90]}"
    return ("packed" if worst < RTOL else "differs"), f"largest difference {worst:.1e} of the largest gradient"


def main(names: Sequence[str] = ()) -> int:
    """Print the table; the exit code is 1 if an architecture passed the examination and differs."""
    mx.disable_compile()  # or g++ builds kernels for each of them
    counted: Counter[str] = Counter()
    refused = []
    for name in names or architectures():
        word, rest = verdict(name)
        counted[word] += 1
        refused += [name] * (word == "refused")
        print(f"{name:24}{word:10}{rest}", flush=True)
    print(", ".join(f"{count} {word}" for word, count in counted.items()))
    print(f"refused: {', '.join(refused)}; as written: {set(refused) == NOT_PACKABLE}")
    return 1 if counted["differs"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
