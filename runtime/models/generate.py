"""Our own generation for held-out prompts: one prompt at a time, with mlx_lm's KV cache.

It takes the same path through the model as `mlx_lm.generate` (all of the prompt but its last token in chunks, then one
token at a time), so that at temperature 0 an exported folder answers with the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.models.tokenizer import rendered_ids, without_second_bos

PREFILL_TOKENS = 2048  # mlx_lm's own chunk: another size could round differently


@dataclass(frozen=True)
class Generated:
    """What the model answered."""

    text: str
    tokens: tuple[int, ...]
    """Without the token that ended the answer."""
    stopped: bool
    """True: the model ended its answer; False: `max_tokens` did."""


def prompt_tokens(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
) -> list[int]:
    """Token ids of a conversation that waits for the assistant: what training saw in front of an answer."""
    options = {"tools": list(tools)} if tools else {}
    rendered = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, **options)
    return without_second_bos(rendered_ids(rendered), getattr(tokenizer, "bos_token_id", None))


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text to be continued: what training saw in front of a completion.

    The tokenizer's own beginning-of-sequence token stands in front, once, even where the text writes it out; an
    end-of-sequence token that it would append does not.
    """
    bos, eos = getattr(tokenizer, "bos_token", None), getattr(tokenizer, "eos_token_id", None)
    ids = list(tokenizer.encode(text, add_special_tokens=not (bos and text.startswith(bos))))
    ids = without_second_bos(ids, getattr(tokenizer, "bos_token_id", None))
    return ids[:-1] if ids and ids[-1] == eos and not text.endswith(tokenizer.eos_token) else ids


def generate(
    model: Any, tokenizer: Any, prompt: Sequence[int], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
) -> Generated:
    """Answer `prompt` with at most `max_tokens` (>= 1) tokens. Imports mlx; runs on the calling thread's device.

    Temperature 0 takes the likeliest token; above it, the draw is a function of `seed`. The model's training mode is
    restored. Raises ValueError for an empty prompt.
    """
    if not prompt:
        raise ValueError("a prompt needs at least one token")
    was_training = model.training
    model.eval()
    try:
        tokens, stopped = _decode(model, tokenizer.eos_token_ids, list(prompt), max_tokens, _sampler(temperature, seed))
    finally:
        model.train(was_training)
    detokenizer = tokenizer.detokenizer
    for token in tokens:
        detokenizer.add_token(token)
    detokenizer.finalize()
    return Generated(detokenizer.text, tuple(tokens), stopped)


def _sampler(temperature: float, seed: int) -> Callable[[Any], Any]:
    """Log probabilities [B, V] -> token ids [B]."""
    import mlx.core as mx

    key = mx.random.key(seed)

    def draw(log_probabilities_BV: Any) -> Any:
        nonlocal key
        key, now = mx.random.split(key)
        return mx.random.categorical(log_probabilities_BV * (1 / temperature), key=now)

    return draw if temperature > 0 else lambda log_probabilities_BV: mx.argmax(log_probabilities_BV, axis=-1)


def _decode(
    model: Any, stop_ids: set[int], prompt: list[int], max_tokens: int, sampler: Callable[[Any], Any]
) -> tuple[list[int], bool]:
    """The answer's tokens, and whether a stop token ended it."""
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache

    cache = make_prompt_cache(model)
    for start in range(0, len(prompt) - 1, PREFILL_TOKENS):
        model(mx.array(prompt[start : min(start + PREFILL_TOKENS, len(prompt) - 1)])[None], cache=cache)
        mx.eval([layer.state for layer in cache])
    tokens: list[int] = []
    last = prompt[-1]
    while len(tokens) < max_tokens:
        logits_BV = model(mx.array([[last]]), cache=cache)[:, -1, :]
        log_probabilities_BV = logits_BV - mx.logsumexp(logits_BV, keepdims=True)
        last = int(sampler(log_probabilities_BV).item())
        if last in stop_ids:
            return tokens, True
        tokens.append(last)
    return tokens, False
