"""Our own generation against mlx_lm's, on the folder that an export writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.models.generate import generate, prompt_tokens
from runtime.models.load import Loaded


@pytest.fixture(scope="module")
def taught() -> Loaded:
    """A model that learnt two answers by heart: certain of every token, so no rounding decides a comparison."""
    from tests.unit.models.teaching import teach_answers

    return teach_answers({"say hi": "hi é there", "count": "1, 2, 3"})


def ask(loaded: Loaded, text: str, **options: Any) -> Any:
    prompt = prompt_tokens(loaded.tokenizer, [{"role": "user", "content": text}])
    return generate(loaded.model, loaded.tokenizer, prompt, max_tokens=32, **options)


def test_temperature_zero_gives_the_text_of_mlx_lm_on_the_exported_folder(taught: Loaded, tmp_path: Path) -> None:
    import mlx_lm
    from mlx.utils import tree_flatten

    from runtime.models.load import write_model_folder

    write_model_folder(tmp_path, taught, dict(tree_flatten(taught.model.parameters())))
    model, tokenizer = mlx_lm.load(str(tmp_path))
    for text, answer in {"say hi": "hi é there", "count": "1, 2, 3"}.items():
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
        assert ask(taught, text).text == mlx_lm.generate(model, tokenizer, prompt, max_tokens=32) == answer


def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(taught: Loaded) -> None:
    answer = ask(taught, "count")
    assert answer.stopped
    assert bytes(answer.tokens).decode() == "1, 2, 3"


def test_max_tokens_ends_the_answer_where_the_model_does_not(taught: Loaded) -> None:
    prompt = prompt_tokens(taught.tokenizer, [{"role": "user", "content": "count"}])
    answer = generate(taught.model, taught.tokenizer, prompt, max_tokens=3)
    assert (answer.text, answer.stopped) == ("1, ", False)


def test_a_drawn_answer_is_a_function_of_the_seed(tiny: Loaded) -> None:
    answers = [ask(tiny, "x", temperature=1.0, seed=seed).tokens for seed in (0, 0, 1)]
    assert answers[0] == answers[1] != answers[2]


def test_a_long_prompt_is_read_in_chunks_with_the_same_answer(taught: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.models import generate as module

    whole = ask(taught, "say hi").text
    monkeypatch.setattr(module, "PREFILL_TOKENS", 5)
    assert ask(taught, "say hi").text == whole


def test_generation_restores_the_training_mode(tiny: Loaded) -> None:
    tiny.model.train()
    ask(tiny, "x")
    assert tiny.model.training
    tiny.model.eval()


def test_an_empty_prompt_is_refused(tiny: Loaded) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(tiny.model, tiny.tokenizer, [], max_tokens=1)
