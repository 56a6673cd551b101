"""The thread that owns MLX: mlx-lm's generator, which batches requests and keeps prompts, with our own edges.

What differs from mlx-lm's server: the prompt is what training saw (one beginning-of-sequence token, the same template),
every token that ends an answer in training ends it here, a CPU computes in float32 whatever the folder holds (16 bit is
many times slower there), prompts that do not fit are refused, and the model is the one that was named at the start.
Imports mlx and mlx_lm: load the BLAS first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from jinja2 import TemplateError
from mlx_lm.models.cache import LRUPromptCache
from mlx_lm.server import (
    CompletionRequest as Prompt,
)
from mlx_lm.server import (
    GenerationArguments,
    LogitsProcessorArguments,
    ModelDescription,
    ModelProvider,
    ResponseGenerator,
    SamplingArguments,
    ToolCallFormatter,
)

from runtime.models.generate import text_tokens
from runtime.models.tokenizer import template_stop_id, without_second_bos
from runtime.serving.asking import ChatRequest, CompletionRequest
from runtime.serving.exchange import GONE, Mailbox
from runtime.serving.refusal import Refused, too_long, unavailable

PROMPTS_KEPT = 10
"""Computed prompts that are kept, so that the next turn of a conversation reads only what is new."""
ANSWERS_AT_ONCE, PROMPTS_AT_ONCE = 32, 8
_UNRENDERABLE = (TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError)
"""What a template raises that cannot render a conversation."""


@dataclass
class Arguments(GenerationArguments):  # type: ignore[misc]  # mlx_lm ships no types
    """mlx-lm's, and whether the client itself named the answer's length."""

    length_named: bool = False


class Engine:
    """Answers requests with the model in one folder until it is stopped."""

    def __init__(self, folder: Path, name: str, max_tokens: int, *, on_loaded: Callable[[], None]) -> None:
        """Start the thread and begin to load. `on_loaded` is called from that thread."""
        self.name = name
        self._max_tokens = max_tokens
        config = json.loads((folder / "config.json").read_bytes())
        self._vocabulary = vocabulary_size(config)
        self._open: set[Mailbox] = set()
        self._provider = _Provider(_options(folder), on_loaded)
        self._thread = _Generator(self._provider, context_tokens(config))

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and the thread lives."""
        return self._provider.opened and bool(self._thread.generation_available())

    @property
    def loaded(self) -> bool:
        """Whether the model was opened."""
        return self._provider.opened

    @property
    def failure(self) -> Exception | None:
        """What ended the thread, if it did not end in order."""
        failure: Exception | None = self._thread.failure
        return failure

    def ask(self, asked: ChatRequest | CompletionRequest) -> Mailbox:
        """Hand a request in; call it on the event loop. Raises Refused."""
        if not self.ready:
            raise unavailable("the model is still being loaded", "loading") if self.failure is None else GONE
        self._check_ids(asked)
        mailbox = Mailbox()
        self._open = {each for each in self._open if not each.closed} | {mailbox}
        self._thread.requests.put((mailbox, _prompt(asked), self._arguments(asked)))
        return mailbox

    def decode(self, token: int) -> str:
        """One token as text; bytes of a letter that takes several tokens show as the replacement character."""
        return str(self._provider.tokenizer.decode([token]))

    def tool_calls(self, context: Any, text: str, tools: Any) -> list[dict[str, Any]]:
        """See Answerer."""
        try:
            return list(ToolCallFormatter(context.tool_parser, tools, False)([text]))
        except Exception:  # one parser for each family of models; whatever it raises, this is no call
            return []

    def wait(self) -> None:
        """Block until the thread has ended; whoever still waits for an answer is told."""
        self._thread.join()
        for mailbox in self._open:
            mailbox.put(GONE)

    def stop(self) -> None:
        """End the thread after the tokens that it computes now."""
        self._thread.stop_and_join()

    def _check_ids(self, asked: ChatRequest | CompletionRequest) -> None:
        ids = [("logit_bias", token) for token in asked.biases]
        if isinstance(asked, CompletionRequest) and isinstance(asked.text, list):
            ids += [("prompt", token) for token in asked.text]
        for param, token in ids:
            if token >= self._vocabulary:
                fact = f"{param}: {token} is no token of this model, which has {self._vocabulary}"
                raise Refused(400, fact, param=param, code="invalid_value")

    def _arguments(self, asked: ChatRequest | CompletionRequest) -> Arguments:
        options = asked.chat_template_kwargs if isinstance(asked, ChatRequest) else None
        return Arguments(
            model=ModelDescription("default_model", "default_model", None),
            sampling=SamplingArguments(
                temperature=asked.temperature or 0.0,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                top_k=min(asked.top_k, self._vocabulary - 1),
                min_p=asked.min_p,
                xtc_probability=asked.xtc_probability,
                xtc_threshold=asked.xtc_threshold,
            ),
            logits=LogitsProcessorArguments(
                logit_bias=asked.biases or None,
                repetition_penalty=asked.repetition_penalty,
                repetition_context_size=asked.repetition_context_size,
                presence_penalty=asked.presence_penalty or 0.0,
                presence_context_size=20,
                frequency_penalty=asked.frequency_penalty or 0.0,
                frequency_context_size=20,
            ),
            stop_words=[],  # looked for in the text: see stops.py
            max_tokens=asked.longest or self._max_tokens,
            num_draft_tokens=0,
            logprobs=asked.alternatives >= 0,
            top_logprobs=min(asked.alternatives, self._vocabulary),
            seed=None if asked.seed is None else asked.seed % (1 << 63),
            chat_template_kwargs=options,
            length_named=asked.longest is not None,
        )


class _Provider(ModelProvider):  # type: ignore[misc]  # mlx_lm ships no types
    """One model, opened as training opens it."""

    def __init__(self, options: argparse.Namespace, on_loaded: Callable[[], None]) -> None:
        super().__init__(options)
        self.opened = False
        self._on_loaded = on_loaded

    def _load(self, *key: Any) -> None:
        super()._load(*key)
        stop = template_stop_id(self.tokenizer)
        if stop is not None:
            self.tokenizer.eos_token_ids = {*self.tokenizer.eos_token_ids, stop}
        if mx.default_device() == mx.cpu:
            self.model.set_dtype(mx.float32)
        self.opened = True
        self._on_loaded()


class _Generator(ResponseGenerator):  # type: ignore[misc]  # mlx_lm ships no types
    """mlx-lm's thread, with our prompts, and an end that is told."""

    def __init__(self, provider: _Provider, context: int | None) -> None:
        self._context = context
        self.failure: Exception | None = None
        super().__init__(provider, LRUPromptCache(PROMPTS_KEPT))

    def _run_generate(self) -> None:
        try:
            self._generate()
        except Exception as failure:  # the border of a thread: whoever waits for it is told
            self.failure, self._generation_failed = failure, True

    def _tokenize(self, tokenizer: Any, request: Prompt, args: Arguments) -> tuple[Any, ...]:
        """As mlx-lm's, checked against the model's context. Raises Refused."""
        ids, *rest = (
            self._chat(tokenizer, request, args) if request.request_type == "chat" else _text(tokenizer, request)
        )
        if not ids:
            raise Refused(400, "prompt: has no token", param="prompt", code="invalid_value")
        if self._context is not None:
            left = self._context - len(ids)
            if left < (args.max_tokens if args.length_named else 1):
                raise too_long(len(ids), args.max_tokens if args.length_named else 0, self._context)
            args.max_tokens = min(args.max_tokens, left)
        return (ids, *rest)

    def _chat(self, tokenizer: Any, request: Prompt, args: Arguments) -> tuple[Any, ...]:
        if not tokenizer.has_chat_template:
            raise Refused(400, "this model has no chat template: ask /v1/completions", param="messages")
        try:
            ids, segments, kinds, *rest = super()._tokenize(tokenizer, request, args)
        except _UNRENDERABLE as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise Refused(400, f"messages: the chat template refuses them: {reason}", param="messages") from error
        single = without_second_bos(list(ids), getattr(tokenizer, "bos_token_id", None))
        if len(single) < len(ids):
            segments, kinds = [single], ["assistant"]
        return (single, segments, kinds, *rest)


def _text(tokenizer: Any, request: Prompt) -> tuple[Any, ...]:
    given = request.prompt
    ids = list(given) if isinstance(given, list) else text_tokens(tokenizer, given)
    return ids, [ids], ["assistant"], "normal", None


def _prompt(asked: ChatRequest | CompletionRequest) -> Prompt:
    if isinstance(asked, ChatRequest):
        return Prompt("chat", "", asked.conversation(), asked.usable_tools() or None, None)
    return Prompt("text", asked.text, [], None, None)


def context_tokens(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model's positions reach, by its config.json; None where it does not say."""
    inner = config.get("text_config")
    places = [config, inner] if isinstance(inner, Mapping) else [config]
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")
    found = (place.get(name) for place in places for name in names)
    return next((int(value) for value in found if isinstance(value, int) and value > 0), None)


def vocabulary_size(config: Mapping[str, Any]) -> int:
    """The number of tokens by config.json; without it, a number that no id reaches."""
    inner = config.get("text_config")
    found = config.get("vocab_size") or (inner.get("vocab_size") if isinstance(inner, Mapping) else None)
    return int(found) if isinstance(found, int) else 1 << 31


def _options(folder: Path) -> argparse.Namespace:
    """What mlx-lm's command line would be."""
    return argparse.Namespace(
        model=str(folder),
        adapter_path=None,
        draft_model=None,
        num_draft_tokens=0,
        trust_remote_code=False,
        chat_template="",
        use_default_chat_template=False,
        chat_template_args={},
        decode_concurrency=ANSWERS_AT_ONCE,
        prompt_concurrency=PROMPTS_AT_ONCE,
        prefill_step_size=2048,
        prompt_cache_size=PROMPTS_KEPT,
        prompt_cache_bytes=None,
        kv_bits=None,
        kv_group_size=64,
        quantized_kv_start=0,
        pipeline=False,
    )
