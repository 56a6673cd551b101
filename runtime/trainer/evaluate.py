"""Held-out loss and held-out answers: this worker's share of each, on the MLX thread. Sums in float64, never means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx

from runtime.cluster.messages import Answer
from runtime.config.schema import Config
from runtime.data.batches import Shaping, eval_micros
from runtime.data.dataset import Datasets
from runtime.errors import DataError
from runtime.metrics.scoring import INSTRUCTION_FOLLOWING, Reference, count
from runtime.metrics.sums import Sums as Counted
from runtime.models.generate import generate
from runtime.trainer.gradients import Tree


class Judging(Protocol):
    """Losses without gradients; `GradientFunctions` are such."""

    def judge(self, parameters: Tree, tokens: Any, mask: Any) -> tuple[mx.array, mx.array]:
        """(row losses [B], correct first choices [B])."""
        ...


class Judged(Protocol):
    """A model as an evaluation needs it; a `Replica` is one."""

    @property
    def functions(self) -> Judging:
        """Its loss."""
        ...

    @property
    def trained(self) -> Tree:
        """The parameters that the loss is a function of."""
        ...


class Answering(Judged, Protocol):
    """One that also holds the whole model."""

    def model_in_use(self) -> AbstractContextManager[Any]:
        """The model itself, for generation."""
        ...


@dataclass(frozen=True)
class Sums:
    """One share of an evaluation."""

    loss_sum: float
    tokens: int
    correct: int


class HeldOut:
    """The held-out samples and prompts of a run."""

    def __init__(self, config: Config, datasets: Datasets, tokenizer: Any) -> None:
        self._datasets, self._tokenizer = datasets, tokenizer
        self._shaping = Shaping(config.train.micro_batch_size * 4, config.data.pad_multiple)
        self._generation = config.evaluation.generate
        asks = any(prompt.instructions for prompt in datasets.prompts)
        if INSTRUCTION_FOLLOWING in self._generation.metrics and datasets.prompts and not asks:
            raise DataError(
                "eval.generate.metrics: instruction_following needs held-out records with instruction_id_list and "
                "kwargs (IFEval's columns), and none has them; add them, or leave the metric out"
            )

    def judge(self, replica: Judged, share: int, shares: int, max_batches: int) -> Sums:
        """Loss and correct first choices over this share's samples."""
        parameters = replica.trained
        losses: list[float] = []
        tokens = correct = 0
        for micro in eval_micros(self._datasets.held_out, share, shares, self._shaping, max_batches):
            losses_B, right_B = replica.functions.judge(parameters, micro.tokens_BT, micro.mask_BT)
            mx.eval(losses_B, right_B)
            losses += losses_B.tolist()
            correct += int(right_B.sum().item())
            tokens += int(micro.mask_BT[:, 1:].sum())
        return Sums(math.fsum(losses), tokens, correct)

    def answer(self, replica: Answering, share: int, shares: int, answers: int) -> tuple[Answer, ...]:
        """This share's answers to `answers` prompts spread evenly over the held-out ones."""
        prompts = self._datasets.prompts
        count = min(answers, len(prompts))
        if count == 0:
            return ()
        chosen = [index * len(prompts) // count for index in range(count)][share::shares]
        most, temperature = self._generation.max_tokens, self._generation.temperature
        found = []
        with replica.model_in_use() as model:
            for index in chosen:
                prompt = prompts[index]
                ids = prompt.tokens(self._tokenizer)
                text = generate(model, self._tokenizer, ids, max_tokens=most, temperature=temperature, seed=index).text
                found.append(Answer(index, prompt.question, prompt.answer, text))
        return tuple(found)

    def count(self, answers: Sequence[Answer]) -> Mapping[str, Counted]:
        """The sums of every metric of eval.generate.metrics over these answers; raises DataError (`scoring.count`)."""
        prompts = self._datasets.prompts
        pairs = [(one.answer, Reference(one.expected, prompts[one.index].instructions)) for one in answers]
        return count(self._generation.metrics, pairs)
