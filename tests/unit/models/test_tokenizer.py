"""A tokenizer's files: what is read, what replaces the template, which tokens end an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import ModelError
from runtime.models.bytes_tokenizer import END_OF_TEXT_ID, IM_END_ID, write_bytes_tokenizer
from runtime.models.tokenizer import open_tokenizer, template_stop_id, tokenizer_files

ENDS_WITH_ENDOFTEXT = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '<|endoftext|>' }}{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bytes_tokenizer(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_the_templates_own_stop_token_ends_an_answer_too(folder: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text(ENDS_WITH_ENDOFTEXT)
    tokenizer = open_tokenizer(tokenizer_files(folder, str(template)))
    assert template_stop_id(tokenizer) == END_OF_TEXT_ID
    assert tokenizer.eos_token_ids == {IM_END_ID, END_OF_TEXT_ID}


def test_a_template_of_the_users_own_replaces_the_folders_in_every_file(folder: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text(ENDS_WITH_ENDOFTEXT)
    files = tokenizer_files(folder, str(template))
    assert files["chat_template.jinja"].decode() == ENDS_WITH_ENDOFTEXT
    assert "chat_template" not in json.loads(files["tokenizer_config.json"])
    question = [{"role": "user", "content": "hi"}]
    assert open_tokenizer(files).apply_chat_template(question, tokenize=False) == "user:hi<|endoftext|>"


def test_an_unreadable_template_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.chat_template: .*missing\.jinja cannot be read: No such file"):
        tokenizer_files(folder, str(tmp_path / "missing.jinja"))


def test_further_stop_tokens_are_added(folder: Path) -> None:
    tokenizer = open_tokenizer(tokenizer_files(folder), stop_tokens=["<|endoftext|>"])
    assert tokenizer.eos_token_ids == {IM_END_ID, END_OF_TEXT_ID}


def test_an_unknown_stop_token_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.stop_tokens: '</s>' is not a token"):
        open_tokenizer(tokenizer_files(folder), stop_tokens=["</s>"])


def test_a_folder_without_tokenizer_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer files"):
        open_tokenizer(tokenizer_files(tmp_path))


def test_a_broken_tokenizer_file_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="the tokenizer cannot be opened"):
        open_tokenizer(tokenizer_files(folder))


def test_a_tokenizer_without_a_template_has_no_template_stop(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert template_stop_id(open_tokenizer(tokenizer_files(folder))) is None


def test_a_template_without_a_stop_token_has_none(folder: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    assert template_stop_id(open_tokenizer(tokenizer_files(folder, str(template)))) is None
