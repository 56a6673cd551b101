"""The built-in `bytes` tokenizer: a real Hugging Face tokenizer folder of 260 tokens, written without a download.

Token n < 256 is byte n; four special tokens follow. The chat template is ChatML with generation markers, so that the
data path reads the training mask from the template itself. mlx_lm opens the folder like any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

IM_START, IM_END, PAD, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|pad|>", "<|endoftext|>"
SPECIAL_TOKENS = (IM_START, IM_END, PAD, END_OF_TEXT)
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
IM_START_ID, IM_END_ID, PAD_ID, END_OF_TEXT_ID = range(256, VOCAB_SIZE)

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else -%}
{{ message['content'] + '<|im_end|>' }}
{%- endif -%}
{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""


def write_bytes_tokenizer(folder: Path) -> tuple[Path, ...]:
    """Write the tokenizer's files into `folder` (created if missing) and return their paths. Same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"tokenizer.json": _tokenizer(), "tokenizer_config.json": _tokenizer_config()}
    written = []
    for name, content in contents.items():
        path = folder / name
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        written.append(path)
    template = folder / "chat_template.jinja"
    template.write_text(CHAT_TEMPLATE, encoding="utf-8")
    return (*written, template)


def _tokenizer() -> dict[str, Any]:
    """`tokenizer.json` of a byte-level BPE without a single merge."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": 256 + position,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for position, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {_letter(byte): byte for byte in range(256)},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": IM_END,
        "pad_token": PAD,
        "additional_special_tokens": [IM_START, END_OF_TEXT],
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
        "chat_template": CHAT_TEMPLATE,
    }


def _letter(byte: int) -> str:
    """GPT-2's printable stand-in for a byte: itself where Latin-1 prints it, else one of the letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if byte in printable:
        return chr(byte)
    return chr(0x100 + [b for b in range(256) if b not in printable].index(byte))
