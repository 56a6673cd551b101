"""Chat templates in the style of four families, none of which marks its answers: what is learnt in each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.data.chat import ChatEncoder
from runtime.data.encoded import Encoded, MaskRules, Unmaskable, runs
from runtime.data.records import Conversation, Message
from runtime.models.generate import prompt_tokens
from tests.unit.data.families import GEMMA, LLAMA3, MISTRAL, QWEN3, Family, tokenizer_of, word_tokenizer

Opener = Callable[[Family], Any]
FAMILIES = {"llama3": LLAMA3, "qwen3": QWEN3, "gemma": GEMMA, "mistral": MISTRAL}
CHAT: list[Message] = [
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1é"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
    {"role": "user", "content": "q3"},
    {"role": "assistant", "content": "a3"},
]


@pytest.fixture(scope="module")
def open_family(tmp_path_factory: pytest.TempPathFactory) -> Opener:
    opened: dict[Family, Any] = {}

    def opener(family: Family) -> Any:
        if family not in opened:
            opened[family] = tokenizer_of(tmp_path_factory.mktemp("family"), family)
        return opened[family]

    return opener


def encode(tokenizer: Any, messages: list[Message] = CHAT, tools: Any = (), **rules: Any) -> Encoded | Unmaskable:
    (found,) = ChatEncoder(tokenizer, MaskRules(**rules)).encode([Conversation(tuple(messages), tuple(tools))])
    return found


def learnt(tokenizer: Any, *arguments: Any, **options: Any) -> list[str]:
    found = encode(tokenizer, *arguments, **options)
    assert isinstance(found, Encoded), found
    return [tokenizer.decode(list(found.ids[start:end])) for start, end in runs(found.mask)]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("llama3", ["a1é<|eot_id|>", "a2<|eot_id|>", "a3<|eot_id|>"]),
        ("qwen3", ["a1é<|im_end|>", "a2<|im_end|>", "<think>\n\n</think>\n\na3<|im_end|>"]),
        ("gemma", ["a1é<end_of_turn>", "a2<end_of_turn>", "a3<end_of_turn>"]),
        ("mistral", [" a1é</s>", " a2</s>", " a3</s>"]),
    ],
)
def test_bug_10_every_answer_is_learnt_without_its_header(open_family: Opener, name: str, answers: list[str]) -> None:
    tokenizer = open_family(FAMILIES[name])
    assert learnt(tokenizer) == answers
    assert learnt(tokenizer, mask="last") == answers[-1:]
    assert ChatEncoder(tokenizer, MaskRules()).method == "checked prefix difference"


@pytest.mark.parametrize("name", FAMILIES)
def test_case_20_two_answers_are_three_transitions_and_end_in_a_trained_stop(open_family: Opener, name: str) -> None:
    tokenizer = open_family(FAMILIES[name])
    found = encode(tokenizer, CHAT[:4])
    assert isinstance(found, Encoded)
    end = runs(found.mask)[-1][1]
    assert sum(a != b for a, b in zip(found.mask[:end], found.mask[1:end], strict=False)) == 3
    assert found.mask[0] == 0
    assert not tokenizer.decode(list(found.ids[end:])).strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_bug_06_the_stop_token_of_the_template_is_learnt_and_stops_generation(open_family: Opener, name: str) -> None:
    tokenizer = open_family(FAMILIES[name])
    found = encode(tokenizer)
    assert isinstance(found, Encoded)
    assert {found.ids[end - 1] for _, end in runs(found.mask)} <= tokenizer.eos_token_ids
    assert ChatEncoder(tokenizer, MaskRules()).learns_stop()
    assert not ChatEncoder(tokenizer, MaskRules(train_on_stop=False)).learns_stop()


@pytest.mark.parametrize("name", ["llama3", "gemma", "mistral"])
def test_bug_04_one_beginning_of_sequence_for_training_and_for_asking(open_family: Opener, name: str) -> None:
    family = FAMILIES[name]
    tokenizer = open_family(family)
    bos = tokenizer.bos_token_id
    found = encode(tokenizer)
    assert isinstance(found, Encoded)
    assert list(found.ids).count(bos) == 1
    assert found.ids[0] == bos
    asked = prompt_tokens(tokenizer, CHAT[:1])
    assert asked == list(found.ids[: len(asked)])


def test_bug_04_two_beginnings_become_one_for_asking_too(tmp_path: Path) -> None:
    doubled = Family("{{ bos_token }}" + LLAMA3.template, LLAMA3.special, LLAMA3.eos, LLAMA3.bos)
    tokenizer = tokenizer_of(tmp_path, doubled)
    asked = prompt_tokens(tokenizer, CHAT[:1])
    found = encode(tokenizer)
    assert isinstance(found, Encoded)
    assert asked[0] == found.ids[0] == tokenizer.bos_token_id
    assert asked[1] == found.ids[1] != tokenizer.bos_token_id


def test_bug_07_an_answer_that_later_turns_rewrite_is_found_in_their_company(open_family: Opener) -> None:
    """Qwen 3 thinks in front of the last answer only; what stands before the others is no prefix of them alone."""
    tokenizer = open_family(QWEN3)
    alone = tokenizer.apply_chat_template(CHAT[:2])
    whole = tokenizer.apply_chat_template(CHAT)
    assert whole[: len(alone)] != alone
    assert learnt(tokenizer)[0] == "a1é<|im_end|>"
    assert learnt(tokenizer, train_on_stop=False)[0] == "a1é"


def test_bug_07_an_earlier_answer_that_loses_text_is_refused(open_family: Opener) -> None:
    lossy = Family(QWEN3.template.replace("{{- m['content'] }}", "{{- m['content'][:3] }}"), QWEN3.special, QWEN3.eos)
    found = encode(open_family(lossy), [CHAT[0], {"role": "assistant", "content": "a long answer"}, *CHAT[2:]])
    assert isinstance(found, Unmaskable)
    assert 'rewrites turn 2 when more turns follow; use mask = "last"' in str(found)


@pytest.mark.parametrize(
    ("name", "messages", "why"),
    [
        ("gemma", [{"role": "system", "content": "s"}, *CHAT[:2]], "System role not supported"),
        ("gemma", [CHAT[0], CHAT[1], CHAT[1]], "Conversation roles must alternate"),
        ("mistral", [{"role": "system", "content": "s"}, *CHAT[:2]], "Only user and assistant roles are supported!"),
        ("mistral", [{"role": "user", "content": None}, CHAT[1]], "'dict object' has no attribute 'content'"),
    ],
)
def test_what_a_template_refuses_is_the_reason_of_the_quarantine(
    open_family: Opener, name: str, messages: list[Message], why: str
) -> None:
    found = encode(open_family(FAMILIES[name]), messages)
    assert isinstance(found, Unmaskable)
    assert f"the chat template refuses the conversation: {why}" in str(found)


def test_tools_stand_in_every_rendering_and_calls_are_learnt(open_family: Opener) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    messages: list[Message] = [
        CHAT[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "one"},
    ]
    tokenizer, tools = open_family(QWEN3), [{"type": "function", "function": {"name": "add"}}]
    found = encode(tokenizer, messages[:2], tools)
    assert isinstance(found, Encoded)
    assert '# Tools\n{"type": "function", "function": {"name": "add"}}' in tokenizer.decode(list(found.ids))
    (answer,) = learnt(tokenizer, messages[:2], tools)
    assert answer == (
        '<think>\n\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>'
    )
    assert learnt(tokenizer, messages, tools, mask="last") == ["<think>\n\n</think>\n\none<|im_end|>"]
    asked = prompt_tokens(tokenizer, messages[:1], tools)
    assert asked == list(found.ids[: len(asked)])


def test_thoughts_are_part_of_the_answer(open_family: Opener) -> None:
    thoughtful = [CHAT[0], {**CHAT[1], "reasoning_content": "hm"}]
    assert learnt(open_family(QWEN3), thoughtful) == ["<think>\nhm\n</think>\n\na1é<|im_end|>"]


def test_answers_of_weight_zero_are_read_but_not_learnt(open_family: Opener) -> None:
    encoder = ChatEncoder(open_family(LLAMA3), MaskRules())
    (found,) = encoder.encode([Conversation(tuple(CHAT), unlearnt=frozenset({1, 5}))])
    assert isinstance(found, Encoded)
    assert [open_family(LLAMA3).decode(list(found.ids[a:b])) for a, b in runs(found.mask)] == ["a2<|eot_id|>"]


def test_completion_means_every_answer_of_a_records_completion(open_family: Opener) -> None:
    tokenizer = open_family(LLAMA3)
    (found,) = ChatEncoder(tokenizer, MaskRules("completion")).encode([Conversation(tuple(CHAT), completion_from=2)])
    assert isinstance(found, Encoded)
    assert [tokenizer.decode(list(found.ids[a:b])) for a, b in runs(found.mask)] == ["a2<|eot_id|>", "a3<|eot_id|>"]


@pytest.mark.parametrize(
    ("mask", "masked"),
    [
        ("all", [False, False, False, False, False]),
        ("assistant", [True, True, False, True, False]),
        ("last", [True, True, True, True, False]),
    ],
)
def test_case_24_which_messages_each_mask_leaves_out(open_family: Opener, mask: str, masked: list[bool]) -> None:
    """As torchtune's mask_messages; but `all` is all here, the system message too."""
    tokenizer = open_family(LLAMA3)
    messages: list[Message] = [{"role": "system", "content": "sys"}, *CHAT[:4]]
    text = "".join(learnt(tokenizer, messages, mask=mask))
    assert [message["content"] not in text for message in messages] == masked


def test_case_24_an_unknown_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no mask 'assistent'; one of assistant, last, completion, all"):
        MaskRules("assistent")


def test_case_22_llama_3_trains_the_words_of_the_answers_alone(tmp_path: Path) -> None:
    """The peers' ids need Meta's vocabulary; the words that stand for them here have their order and their mask."""
    words = {"?": 0, "user": 882, "assistant": 78191, "hello": 15339, "good": 19045, "bye": 29474}
    family = Family(
        LLAMA3.template.replace("\\n\\n", " ").replace("| trim", ""), LLAMA3.special, LLAMA3.eos, LLAMA3.bos
    )
    tokenizer = word_tokenizer(tmp_path, words, family)
    spoken = [("user", "hello"), ("assistant", "hello"), ("user", "good bye"), ("assistant", "good bye")]
    found = encode(tokenizer, [{"role": role, "content": text} for role, text in spoken], train_on_stop=False)
    assert isinstance(found, Encoded)
    start, head, end, eot = (tokenizer.get_vocab()[token] for token in LLAMA3.special[:4])
    assert found.ids == (
        *(start, head, 882, end, 15339, eot, head, 78191, end, 15339, eot),
        *(head, 882, end, 19045, 29474, eot, head, 78191, end, 19045, 29474, eot),
    )
    assert [token for token, bit in zip(found.ids, found.mask, strict=True) if bit] == [15339, 19045, 29474]


def test_case_23_the_last_turns_words_and_their_stop_are_trained(open_family: Opener) -> None:
    """Phi 3.5 trains 1781, 26966, 32007: two words and the stop token, of the last turn alone."""
    assert learnt(open_family(LLAMA3), mask="last") == ["a3<|eot_id|>"]


RAISES = Family("{{ raise_exception('never') }}", QWEN3.special, QWEN3.eos)
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}%IN{% endgeneration %}%OUT{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STOP = "{{ '<|im_end|>' }}"


@pytest.mark.parametrize(
    ("template", "learns"),
    [
        (MARKED.replace("%IN", STOP).replace("%OUT", ""), True),
        (MARKED.replace("%IN", "").replace("%OUT", STOP), True),  # the peers: False, with a warning; here it is learnt
        (RAISES.template, False),
    ],
)
def test_case_21_the_stop_token_is_learnt_inside_and_outside_of_the_markers(
    tmp_path: Path, template: str, learns: bool
) -> None:
    family = Family(MARKED.replace("%IN", STOP).replace("%OUT", ""), QWEN3.special, QWEN3.eos)
    tokenizer = tokenizer_of(tmp_path, family)
    tokenizer._tokenizer.chat_template = template
    assert ChatEncoder(tokenizer, MaskRules()).learns_stop() is learns


def test_a_conversation_that_a_template_with_markers_refuses_costs_the_others_nothing(tmp_path: Path) -> None:
    picky = "{% if messages[0]['content'] == 'bad' %}{{ raise_exception('no') }}{% endif %}"
    family = Family(picky + MARKED.replace("%IN", STOP).replace("%OUT", ""), QWEN3.special, QWEN3.eos)
    encoder = ChatEncoder(tokenizer_of(tmp_path, family), MaskRules())
    good, bad = Conversation(tuple(CHAT)), Conversation(({"role": "user", "content": "bad"}, CHAT[1]))
    tooled = Conversation(tuple(CHAT), ({"name": "f"},))
    found = encoder.encode([good, bad, tooled])
    assert encoder.method == "generation markers of the chat template"
    assert found[0] == found[2] == encoder.encode([good])[0]
    assert isinstance(found[1], Unmaskable)
