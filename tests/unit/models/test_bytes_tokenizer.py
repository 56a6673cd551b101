"""The built-in tokenizer, opened by the libraries that will meet it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.models import bytes_tokenizer
from runtime.models.tokenizer import open_tokenizer, tokenizer_files


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bytes")
    bytes_tokenizer.write_bytes_tokenizer(folder)
    return open_tokenizer(tokenizer_files(folder))


def test_every_byte_is_its_own_token(tokenizer: Any) -> None:
    text = "a  b ,c \t\n é 日本 😀\x00\x7f"
    assert tokenizer.encode(text) == list(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer) == bytes_tokenizer.VOCAB_SIZE == 260


def test_vocabulary_names_every_byte_once(tmp_path: Path) -> None:
    bytes_tokenizer.write_bytes_tokenizer(tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(256))


def test_special_tokens_have_the_numbers_that_the_module_names(tokenizer: Any) -> None:
    assert [tokenizer.convert_tokens_to_ids(token) for token in bytes_tokenizer.SPECIAL_TOKENS] == [
        bytes_tokenizer.IM_START_ID,
        bytes_tokenizer.IM_END_ID,
        bytes_tokenizer.PAD_ID,
        bytes_tokenizer.END_OF_TEXT_ID,
    ]
    assert tokenizer.eos_token_ids == {bytes_tokenizer.IM_END_ID}
    assert tokenizer.pad_token_id == bytes_tokenizer.PAD_ID != tokenizer.eos_token_id


def test_generation_prompt_is_a_prefix_of_the_rendered_answer(tokenizer: Any) -> None:
    question = [{"role": "user", "content": "hi"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True)
    full = tokenizer.apply_chat_template([*question, {"role": "assistant", "content": "yo"}])
    assert full[: len(asked)] == asked
    assert tokenizer.decode(full) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"


def test_the_folder_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in bytes_tokenizer.write_bytes_tokenizer(tmp_path / "one")]
    second = [path.read_bytes() for path in bytes_tokenizer.write_bytes_tokenizer(tmp_path / "two")]
    assert first == second
