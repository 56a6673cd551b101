"""One worker of the real command against a bare compiled MLX loop: `python -m tests.benchmarks.bare_loop`.

Both train the quickstart's model on the same batches, in the same order, with the same BLAS and threads, in float32
with clipping and AdamW. They take turns, several rounds. A step's time is its best over the rounds, so that what else
runs on the machine cancels. Start-up, the first steps and every step that meets a new shape of batch do not count: the
bare loop traces and compiles its whole step anew for each shape, we do not, and in a long run neither shows. Only the
ratio means anything.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from runtime.config.load import load_config
from runtime.config.schema import Config
from runtime.events import StepCommitted
from runtime.flow import Array, Batch, StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from tests.support.repository import ROOT
from tests.support.run_process import RunProcess

if TYPE_CHECKING:
    from runtime.app.equipment import Equipment

ROUNDS = 5
STEPS, WARM_UP = 60, 10
GLOBAL_BATCH = 32
GUARD_SECONDS = 900.0
LONG_ENOUGH_TO_COMPILE = 1_000_000
CONFIGS = ROOT / "configs"
ONE_BLAS_THREAD = {"PYTHON_CPU_COUNT": "1"}
"""Workers take as many BLAS threads as there are cores; OpenBLAS's spin when something else needs one of these."""


@dataclass(frozen=True)
class Turn:
    """One round of the bare loop, step by step."""

    seconds: list[float]
    widths: list[int]
    """Tokens of a row: the shape of the batch, whose rows are always as many."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of the steps after the warm-up, best of all rounds, and the ratio of each round."""

    bare_seconds: float
    ours_seconds: float
    ratio_of_round: tuple[float, ...]
    tokens: int

    @property
    def ratio(self) -> float:
        """Our tokens per second as a fraction of the bare loop's."""
        return self.bare_seconds / self.ours_seconds

    def __str__(self) -> str:
        rounds = ", ".join(f"{ratio:.3f}" for ratio in self.ratio_of_round)
        return (
            f"bare loop {self.tokens / self.bare_seconds:,.0f} tokens/s, one worker "
            f"{self.tokens / self.ours_seconds:,.0f}: {self.ratio:.3f} (rounds: {rounds}; "
            f"median {statistics.median(self.ratio_of_round):.3f})"
        )


def write_config(folder: Path) -> Path:
    """The quickstart for one worker, compiled, in one micro-batch; nothing but steps happens."""
    tables = tomllib.loads((CONFIGS / "quickstart.toml").read_text())
    tables["data"] = {**tables["data"], "source": [{"path": str(CONFIGS / "data/quickstart-train.jsonl")}]}
    del tables["data"]["eval"]
    tables["train"] = {
        "steps": LONG_ENOUGH_TO_COMPILE,
        "global_batch_size": GLOBAL_BATCH,
        "micro_batch_size": GLOBAL_BATCH,
    }
    tables["parallel"] = {"workers": 1}
    tables["checkpoint"] = {"every": 0, "every_s": 0.0}
    del tables["eval"]
    path = folder / "bare.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def compare(rounds: int = ROUNDS, steps: int = STEPS) -> Comparison:
    """Take turns and put the figures together."""
    os.environ.update(ONE_BLAS_THREAD)
    bare: list[Turn] = []
    ours: list[list[StepCommitted]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder)
        for number in range(rounds):
            bare.append(run_bare(config, steps))
            ours.append(run_command(config, folder, steps, name=f"round-{number}"))
    widths = bare[0].widths
    counted = [step for step in range(WARM_UP, steps) if widths[step] in widths[:step]]
    return Comparison(
        bare_seconds=sum(min(turn.seconds[step] for turn in bare) for step in counted),
        ours_seconds=sum(min(turn[step].seconds for turn in ours) for step in counted),
        ratio_of_round=tuple(
            statistics.median(one.seconds[step] / other[step].seconds for step in counted)
            for one, other in zip(bare, ours, strict=True)
        ),
        tokens=sum(ours[0][step].useful_tokens for step in counted),
    )


def run_command(config: Path, folder: Path, steps: int, name: str) -> list[StepCommitted]:
    """The first `steps` commits of `mlx-distributed run`, which is then killed."""
    with RunProcess(config, folder, name=name) as run:
        run.wait_for(StepCommitted, lambda event: event.step == Step(steps), within_seconds=GUARD_SECONDS)
        return run.events(StepCommitted)[:steps]


def run_bare(config: Path, steps: int) -> Turn:
    """One turn of the bare loop, in a process of its own."""
    command = [sys.executable, "-P", "-m", "tests.benchmarks.bare_loop", "--bare", str(config), str(steps)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=GUARD_SECONDS, env=environment)
    return Turn(*json.loads(done.stdout.splitlines()[-1]))


def bare(path: Path, steps: int) -> Turn:
    """The loop, over batches that were made before."""
    from runtime.app.worker import blas_threads
    from runtime.models.blas import load_blas

    config = load_config(path)
    load_blas(blas_threads(config, 1))
    equipment, batches = equipped(path, steps)
    step = bare_step(equipment.loaded.model, config)
    seconds = []
    for batch in batches:
        (micro,) = batch.micros
        began = time.perf_counter()
        step(micro.tokens_BT, micro.mask_BT)
        seconds.append(time.perf_counter() - began)
    return Turn(seconds, [batch.micros[0].tokens_BT.shape[1] for batch in batches])


def bare_step(model: Any, config: Config) -> Callable[[Array, Array], None]:
    """What a person would write with mlx alone: one compiled function from a batch to new parameters."""
    import mlx.core as mx
    import mlx.optimizers as optim
    from mlx import nn
    from mlx.utils import tree_map

    optimizer = optim.AdamW(1e-3, betas=list(config.optim.betas), weight_decay=0.01, bias_correction=True)
    optimizer.init(model.trainable_parameters())

    def loss(tokens: mx.array, mask: mx.array) -> mx.array:
        losses = nn.losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
        return (losses * mask[:, 1:]).sum()

    of_model = nn.value_and_grad(model, loss)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(tokens: mx.array, mask: mx.array) -> mx.array:
        value, gradients = of_model(tokens, mask)
        count = mask[:, 1:].sum()
        gradients, _ = optim.clip_grad_norm(tree_map(lambda each: each / count, gradients), 1.0)
        optimizer.update(model, gradients)
        return value / count

    return lambda tokens, mask: mx.eval(step(mx.array(tokens), mx.array(mask)), state)


def equipped(path: Path, steps: int) -> tuple[Equipment, list[Batch]]:
    """The command's own equipment and batches, all of them made before anything is measured."""
    import trio

    from runtime.app.equipment import prepare

    with tempfile.TemporaryDirectory() as folder:
        equipment = prepare(load_config(path), Path(folder), 1)
    feeder, owners = equipment.feeder(), (Rank(0),) * equipment.shards

    async def make() -> list[Batch]:
        heads = [(Generation(1), Step(step + 1), Cursor(step * GLOBAL_BATCH), GLOBAL_BATCH) for step in range(steps)]
        return [await feeder.take(StepOrder(*head, owners, (Rank(0),)), Rank(0)) for head in heads]

    return equipment, trio.run(make)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison; or, with `--bare`, be the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bare", nargs=2, metavar=("CONFIG", "STEPS"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args(arguments)
    if given.bare:
        print(json.dumps(astuple(bare(Path(given.bare[0]), int(given.bare[1])))))
    else:
        print(compare(given.rounds, given.steps))


if __name__ == "__main__":
    main()
