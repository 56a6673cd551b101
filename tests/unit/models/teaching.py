"""Teaches a tiny model a few answers by heart, within seconds, with nothing but mlx."""

from __future__ import annotations

from typing import Any

from runtime.models.load import Loaded, load_model
from tests.unit.models.conftest import scratch, small_model


def teach_answers(answers: dict[str, str], *, steps: int = 120) -> Loaded:
    """A scratch model after `steps` AdamW steps over all of `answers`."""
    import mlx.core as mx
    from mlx import nn, optimizers

    loaded = load_model(small_model(scratch=scratch(hidden_size=64, intermediate_size=128)), seed=0)
    chats = [
        loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        )
        for question, answer in answers.items()
    ]
    width = max(map(len, chats))
    tokens_BT = mx.array([chat + [258] * (width - len(chat)) for chat in chats])
    mask_BT = mx.array([[1.0] * len(chat) + [0.0] * (width - len(chat)) for chat in chats])

    def loss(model: Any) -> Any:
        losses_BT = nn.losses.cross_entropy(model(tokens_BT[:, :-1]), tokens_BT[:, 1:])
        return (losses_BT * mask_BT[:, 1:]).sum() / mask_BT[:, 1:].sum()

    optimizer = optimizers.AdamW(learning_rate=3e-3)
    step = nn.value_and_grad(loaded.model, loss)
    for _ in range(steps):
        _, gradients = step(loaded.model)
        optimizer.update(loaded.model, gradients)
        mx.eval(loaded.model.parameters(), optimizer.state)
    return loaded
