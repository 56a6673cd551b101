"""Tokenizers without a download: 256 bytes, a family's special tokens, and a chat template in the family's style."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from runtime.models.tokenizer import open_tokenizer, tokenizer_files


@dataclass(frozen=True)
class Family:
    """What makes a family's tokenizer."""

    template: str
    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    bos_by_processor: bool = False
    """The tokenizer itself writes a beginning of sequence, whatever the template does."""


LLAMA3 = Family(
    "{{ '<|begin_of_text|>' }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"),
    eos="<|end_of_text|>",
    bos="<|begin_of_text|>",
    bos_by_processor=True,
)

QWEN3 = Family(
    "{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' }}{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{%- endif %}"
    "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m['role'] == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{{- '<|im_start|>' + (m['role'] if m['role'] != 'tool' else 'user') + '\\n' }}"
    "{%- if m['role'] == 'assistant' and loop.index0 > ns.last and loop.last %}"
    "{{- '<think>\\n' + (m['reasoning_content'] or '') + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- m['content'] }}"
    "{%- for call in m['tool_calls'] or [] %}{{- '<tool_call>\\n' + (call['function'] | tojson) + '\\n</tool_call>' }}"
    "{%- endfor %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    eos="<|im_end|>",
)

GEMMA = Family(
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim"
    " + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    eos="<eos>",
    bos="<bos>",
    bos_by_processor=True,
)

MISTRAL = Family(
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
    eos="</s>",
    bos="<s>",
    bos_by_processor=True,
)


def tokenizer_of(folder: Path, family: Family) -> Any:
    """The family's tokenizer as training and serving open it."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return _opened(folder, backend, family)


def word_tokenizer(folder: Path, words: dict[str, int], family: Family) -> Any:
    """A tokenizer of whole words between spaces with chosen numbers; special tokens follow where they have none."""
    backend = Tokenizer(models.WordLevel(vocab=words, unk_token=next(iter(words))))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _opened(folder, backend, family)


def _opened(folder: Path, backend: Tokenizer, family: Family) -> Any:
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.special])
    if family.bos_by_processor:
        number = backend.token_to_id(family.bos)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, number)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=family.bos, eos_token=family.eos, clean_up_tokenization_spaces=False
    )
    if family.template:
        fast.chat_template = family.template
    fast.save_pretrained(folder)
    return open_tokenizer(tokenizer_files(folder))
