"""Held-out loss and held-out answers: this worker's share of each, on the MLX thread. Sums in float64, never means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from runtime.cluster.messages import Answer
from runtime.config.schema import Config
from runtime.data.batches import Shaping, eval_micros
from runtime.data.dataset import Datasets
from runtime.models.generate import generate
from runtime.trainer.replica import Replica


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

    def judge(self, replica: Replica, share: int, shares: int, max_batches: int) -> Sums:
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

    def answer(self, replica: Replica, share: int, shares: int, answers: int) -> tuple[Answer, ...]:
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
