"""The thread that computes, with a real model: it is asked what training saw, and says what the trained model says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlx.utils import tree_flatten

from runtime.config.model import ModelSettings, ScratchSettings
from runtime.models.generate import generate, prompt_tokens, text_tokens
from runtime.models.load import Loaded, load_model, write_model_folder
from runtime.serving.asking import ChatRequest, CompletionRequest
from runtime.serving.engine import Engine, context_tokens, vocabulary_size
from runtime.serving.exchange import Progress
from runtime.serving.refusal import Refused
from tests.unit.data.families import GEMMA, tokenizer_of

GUARD_SECONDS = 120.0
MESSAGES = [{"role": "user", "content": "hi there"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Loaded]:
    """An untrained llama with Gemma's tokenizer: two beginnings of a sequence, and another stop token than its own."""
    folder = tmp_path_factory.mktemp("gemma")
    tokenizer_of(folder / "tokenizer", GEMMA)
    scratch = ScratchSettings(
        tokenizer=str(folder / "tokenizer"),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    loaded = load_model(ModelSettings(scratch=scratch), seed=3, dtype="float32")
    write_model_folder(folder / "model", loaded, dict(tree_flatten(loaded.model.parameters())))
    config = json.loads((folder / "model" / "config.json").read_text())
    config["eos_token_id"] = [loaded.tokenizer.eos_token_id]  # as a folder of somebody else's has it
    (folder / "model" / "config.json").write_text(json.dumps(config))
    return folder / "model", loaded


@pytest.fixture(scope="module")
def engine(model: tuple[Path, Loaded]) -> Iterator[Engine]:
    loaded = threading.Event()
    made = Engine(model[0], "gemma", 16, on_loaded=loaded.set)
    try:
        assert loaded.wait(GUARD_SECONDS)
        yield made
    finally:
        made.stop()


def chat(**body: Any) -> ChatRequest:
    return ChatRequest.model_validate_json(json.dumps({"messages": MESSAGES, **body}))


def completion(prompt: Any, **body: Any) -> CompletionRequest:
    return CompletionRequest.model_validate_json(json.dumps({"prompt": prompt, **body}))


def answer(engine: Engine, asked: ChatRequest | CompletionRequest) -> tuple[list[int], str, str | None]:
    """The prompt's tokens, the answer, and why it ended. Raises Refused."""

    async def scene() -> tuple[list[int], str, str | None]:
        async with asyncio.timeout(GUARD_SECONDS):
            exchange = engine.ask(asked)
            context = await exchange.begin()
            items = [item async for item in exchange.items() if not isinstance(item, Progress)]
            exchange.close()
            return list(context.prompt), "".join(item.text for item in items), items[-1].finish_reason

    return asyncio.run(scene())


def test_a_chat_is_asked_and_answered_as_after_a_step_of_training(engine: Engine, model: tuple[Path, Loaded]) -> None:
    loaded = model[1]
    prompt, text, _ = answer(engine, chat())
    assert prompt == prompt_tokens(loaded.tokenizer, MESSAGES)
    assert prompt[0] == loaded.tokenizer.bos_token_id != prompt[1]
    assert text == generate(loaded.model, loaded.tokenizer, prompt, max_tokens=16).text


def test_the_second_time_the_prompt_is_known_and_the_answer_is_the_same(engine: Engine) -> None:
    assert answer(engine, chat()) == answer(engine, chat())


def test_a_text_is_continued_behind_one_beginning(engine: Engine, model: tuple[Path, Loaded]) -> None:
    loaded = model[1]
    for text in ("2+2=", "<bos>2+2="):
        prompt, said, _ = answer(engine, completion(text, max_tokens=8))
        assert prompt == text_tokens(loaded.tokenizer, "2+2=")
        assert said == generate(loaded.model, loaded.tokenizer, prompt, max_tokens=8).text


def test_every_stop_token_of_training_ends_an_answer(engine: Engine, model: tuple[Path, Loaded]) -> None:
    stop = model[1].tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert answer(engine, chat(logit_bias={str(stop): 100}))[1:] == ("", "stop")


def test_a_seed_repeats_what_was_drawn(engine: Engine) -> None:
    asked = completion([5, 6, 7], seed=-5, temperature=1.0, max_tokens=12)
    first = answer(engine, asked)
    assert first == answer(engine, asked)
    assert first[0] == [5, 6, 7]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (completion(""), None),
        (completion([]), "has no token"),
        (completion("x", max_tokens=500), "context is 128 tokens; the prompt has 2 tokens and the answer may take 500"),
        (completion("x" * 200), "context is 128 tokens; the prompt has 201 tokens$"),
        (completion([9999]), "prompt: 9999 is no token of this model"),
        (completion("x", logit_bias={"9999": 1}), "logit_bias: 9999 is no token of this model"),
        (chat(messages=[{"role": "system", "content": "x"}]), "System role not supported"),
        (chat(messages=[*MESSAGES, *MESSAGES]), "Conversation roles must alternate"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_next_one_answered(
    engine: Engine, asked: ChatRequest | CompletionRequest, sentence: str | None
) -> None:
    if sentence is None:  # the beginning alone is a prompt
        assert len(answer(engine, asked)[0]) == 1
        return
    with pytest.raises(Refused, match=sentence):
        answer(engine, asked)
    assert engine.ready


def test_an_answer_without_a_limit_ends_with_the_context(engine: Engine) -> None:
    prompt, _, reason = answer(engine, completion([5] * 120))
    assert (len(prompt), reason) == (120, "length")


def test_a_call_that_a_parser_dies_of_is_no_call(engine: Engine) -> None:
    def dies(text: str, tools: Any) -> Any:
        raise AttributeError(text)

    assert engine.tool_calls(SimpleNamespace(tool_parser=dies), "x", []) == []
    parser = SimpleNamespace(tool_parser=lambda text, tools: {"name": text, "arguments": {}})
    assert engine.tool_calls(parser, "add", [])[0]["function"] == {"name": "add", "arguments": "{}"}


def test_a_model_without_a_template_is_asked_for_texts_only(engine: Engine, model: tuple[Path, Loaded]) -> None:
    plain = SimpleNamespace(has_chat_template=False)
    request = SimpleNamespace(request_type="chat")
    with pytest.raises(Refused, match="no chat template"):
        engine._thread._tokenize(plain, request, None)


def test_an_engine_whose_model_does_not_open_says_why_to_whoever_asks(
    model: tuple[Path, Loaded], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text((model[0] / "config.json").read_text())
    broken = Engine(tmp_path, "broken", 16, on_loaded=lambda: None)
    broken.wait()
    assert "No safetensors found" in str(broken.failure)
    assert not broken.loaded
    with pytest.raises(Refused, match="no longer there"):
        answer(broken, chat())


def test_whoever_waits_when_the_thread_ends_is_told(model: tuple[Path, Loaded]) -> None:
    loaded = threading.Event()
    engine = Engine(model[0], "gemma", 16, on_loaded=loaded.set)
    assert loaded.wait(GUARD_SECONDS)

    async def scene() -> None:
        exchange = engine.ask(chat(max_tokens=2))
        engine._thread.requests.put(())  # no request at all: the thread fails at it
        async with asyncio.timeout(GUARD_SECONDS):
            await asyncio.to_thread(engine.wait)
            await exchange.begin()
            _ = [item async for item in exchange.items()]

    with pytest.raises(Refused, match="no longer there"):
        asyncio.run(scene())
    assert not engine.ready


def test_what_a_configuration_says_about_sizes() -> None:
    assert context_tokens({"max_position_embeddings": 8}) == 8
    assert context_tokens({"text_config": {"max_position_embeddings": 9}}) == 9
    assert context_tokens({"n_positions": None}) is None
    assert vocabulary_size({"vocab_size": 5}) == vocabulary_size({"text_config": {"vocab_size": 5}}) == 5
    assert vocabulary_size({}) == 1 << 31
