"""An evaluation by itself, in this process: a model's folder, the held-out data of a configuration, and the scores.

It is the evaluation of a run with one worker and the same code: the same samples, prompts, sums and scores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from runtime.cluster.evaluation import Evaluation
from runtime.cluster.messages import Answer, Evaluated
from runtime.config.schema import Config
from runtime.data.dataset import load_datasets
from runtime.errors import UsageError
from runtime.ids import Generation, Rank, Step
from runtime.metrics.scoring import scores
from runtime.models.device import DeviceKind, default_kind
from runtime.models.load import load_base
from runtime.trainer.evaluate import HeldOut
from runtime.trainer.gradients import GradientFunctions, Tree, trainable


@dataclass(frozen=True)
class Judgement:
    """What the held-out data says of a model."""

    metrics: dict[str, float]
    """By name: loss, token_accuracy, perplexity, and what eval.generate.metrics asks for."""
    tokens: int
    """Held-out tokens that counted."""
    answers: tuple[Answer, ...]
    seconds: float


class Standing:
    """A model that is not trained; implements `evaluate.Judged`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.functions = GradientFunctions(model, compiled=False)
        self.trained: Tree = trainable(model)

    @contextmanager
    def model_in_use(self) -> Iterator[Any]:
        """See Judged."""
        self._model.eval()
        yield self._model


def judge(config: Config, folder: Path) -> Judgement:
    """Evaluate the model in `folder` as [data.eval] and [eval] say. Call `load_blas` first: mlx is imported already.

    Raises UsageError when the configuration holds nothing out, ModelError and DataError.
    """
    held_out = config.data.evaluation
    if not held_out.path and held_out.eval_fraction <= 0:
        raise UsageError("the configuration holds nothing out; set data.eval.path or data.eval.eval_fraction in it")
    began = time.monotonic()
    if default_kind() is DeviceKind.CPU:
        mx.disable_compile()  # mlx_lm compiles pieces of its own, and a C++ compiler takes longer than they save
    model = config.model.model_copy(update={"path": str(folder), "quantize_bits": 0})  # it is all in there
    loaded = load_base(model, config.run.seed)
    data = config.data
    if held_out.path:  # what would be trained on need not be there: the held-out file stands in for it
        data = data.model_copy(update={"sources": (data.sources[0].model_copy(update={"path": held_out.path}),)})
    judge = HeldOut(config, load_datasets(data, loaded.tokenizer, seed=config.run.seed), loaded.tokenizer)
    standing = Standing(loaded.model)
    sums = judge.judge(standing, 0, 1, config.evaluation.max_batches)
    answers = judge.answer(standing, 0, 1, config.evaluation.generate.samples)
    share = Evaluated(Generation(1), Step(0), sums.loss_sum, sums.tokens, sums.correct, answers, judge.count(answers))
    evaluation = Evaluation((Rank(0),), began, scores)
    evaluation.add(Rank(0), share, Generation(1))
    found = {name.removeprefix("eval/"): value for name, value in evaluation.metrics.items()}
    return Judgement(found, sums.tokens, evaluation.answers, time.monotonic() - began)
