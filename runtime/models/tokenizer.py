"""A tokenizer as the files that make it: read from a folder, opened by mlx_lm, written into an export unchanged.

Every token that ends an answer is known once it is open: the tokenizer's own, config.json's, the user's, and the one
that the chat template writes (Gemma ends a turn with <end_of_turn>, which is not its end-of-sequence token).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import ModelError

_PATTERNS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.jinja",
    "*.tiktoken",
    "*.model",
    "generation_config.json",
)


def tokenizer_files(folder: Path, chat_template: str = "auto") -> dict[str, bytes]:
    """Every file of `folder` that an export repeats, by name.

    `chat_template` is "auto" (the folder's own) or the path of a file that replaces it.
    Raises ModelError when the template cannot be read.
    """
    paths = sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})
    files = {path.name: path.read_bytes() for path in paths}
    if chat_template == "auto":
        return files
    try:
        files["chat_template.jinja"] = Path(chat_template).expanduser().read_bytes()
    except OSError as error:
        raise ModelError(f"model.chat_template: {chat_template} cannot be read: {error.strerror}") from error
    if "tokenizer_config.json" in files:
        settings = json.loads(files["tokenizer_config.json"])
        settings.pop("chat_template", None)
        files["tokenizer_config.json"] = json_bytes(settings)
    return files


def open_tokenizer(files: Mapping[str, bytes], stop_tokens: Sequence[str] = (), eos_ids: Sequence[int] = ()) -> Any:
    """The tokenizer (mlx_lm's TokenizerWrapper) that these files make.

    Its `eos_token_ids` holds every token that ends an answer, `eos_ids` and `stop_tokens` among them.
    Raises ModelError for files that make no tokenizer, and for a stop token that it does not have.
    """
    from mlx_lm.tokenizer_utils import load

    if not any(name.startswith("tokenizer") for name in files):
        raise ModelError("the model's folder has no tokenizer files (tokenizer.json, tokenizer_config.json)")
    with tempfile.TemporaryDirectory(prefix="mlx-distributed-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            tokenizer = load(Path(folder), eos_token_ids=list(eos_ids) or None)
        except (ValueError, OSError, KeyError, TypeError, ImportError) as error:
            raise ModelError(f"the tokenizer cannot be opened: {error}") from error
    known = tokenizer.get_vocab()
    for token in stop_tokens:
        if token not in known:
            raise ModelError(f"model.stop_tokens: {token!r} is not a token of this tokenizer")
        tokenizer.add_eos_token(token)
    stop = template_stop_id(tokenizer)
    if stop is not None:
        tokenizer.eos_token_ids = {*tokenizer.eos_token_ids, stop}
    return tokenizer


def template_stop_id(tokenizer: Any) -> int | None:
    """The special token that the chat template writes after an answer (Gemma's <end_of_turn>); None without one."""
    if not tokenizer.has_chat_template:
        return None
    marker = "zebra"
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": marker}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    after = text.rpartition(marker)[2]
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    found = [(after.index(token), -len(token), number) for token, number in special.items() if token in after]
    return min(found)[2] if found else None


def rendered_ids(rendered: Any) -> list[int]:
    """The token ids of one rendered conversation, whatever `apply_chat_template` wrapped them in.

    From transformers 5 on it may return a mapping whose length is the number of its keys, which others took for a
    prompt of two tokens. Raises ModelError for anything but one row of whole numbers.
    """
    ids = rendered["input_ids"] if isinstance(rendered, Mapping) or hasattr(rendered, "keys") else rendered
    row = list(ids)
    if len(row) == 1 and isinstance(row[0], (list, tuple)):
        row = list(row[0])
    if not all(isinstance(token, int) for token in row):
        raise ModelError("the tokenizer's apply_chat_template returned no row of token ids")
    return row


def without_second_bos(ids: list[int], bos: int | None) -> list[int]:
    """`ids` with one beginning-of-sequence token where template and post-processor both wrote one."""
    doubled = bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos
    return ids[1:] if doubled else ids


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """The one form in which this program writes JSON into a model's folder."""
    return (json.dumps(dict(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
