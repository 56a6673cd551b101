"""Instructions that a program can check; most cases are those of IFEval's own instructions_test.py, in our words."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from runtime.metrics.instruction_checks import CHECKS, count_sentences, count_words, follows
from runtime.metrics.instruction_following import score, shortenings, statistics
from runtime.metrics.sums import merge

BULLETS = """Make a point with an asterisk (*), like this:
  * the first
  *(without a space) the second
  * the third
  bold **text** and *, are none."""
DASHES = "- one\n - two\n-three\n  . four"
STARS = "one\n***\ntwo\n***\nthree\n* only one"

# ruff: noqa: E501  one case, one line
CASES: list[tuple[str, Mapping[str, Any], str, bool]] = [
    ("keywords:existence", {"keywords": ["Sun", "moon"]}, "the sun and the MOON", True),
    ("keywords:existence", {"keywords": ["sun", "star"]}, "the sun and the moon", False),
    ("keywords:frequency", {"keyword": "c++", "frequency": 2, "relation": "at least"}, "C++ or c++", True),
    ("keywords:frequency", {"keyword": "keep", "frequency": 2, "relation": "less than"}, "keep, keeper", False),
    ("keywords:forbidden_words", {"forbidden_words": ["lead"]}, "a leader", True),
    ("keywords:forbidden_words", {"forbidden_words": ["lead"]}, "Lead on", False),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 3, "let_relation": "at least"}, "A banana", True),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 1, "let_relation": "less than"}, "Zoo", False),
    ("length_constraints:number_sentences", {"num_sentences": 4, "relation": "less than"}, "xx,x. xx,x! x/x. x?", False),
    ("length_constraints:number_sentences", {"num_sentences": 5, "relation": "less than"}, "xx. xx,x! x. x(x)x?", True),
    ("length_constraints:number_sentences", {"num_sentences": 4, "relation": "at least"}, "xx. x,x! x|x. x&x x?", True),
    ("length_constraints:number_sentences", {"num_sentences": 5, "relation": "at least"}, "xx. x,x! x}x. x,x?", False),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "well-known word", True),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "well-known word", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "one\n***\ntwo\n***\nthree", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "***\none\n***\ntwo\n***\nthree\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo\n***\n***", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** two *** three", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 5}, "[a] [b]\n[c][d] and [e]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 7}, "My [a] [b] is [a] [b]. [c], [d].", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Done.\n\nP.S. I hope so.", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Done. (no new line) P. S. I hope so.", True),
    ("detectable_content:postscript", {"postscript_marker": "PS:"}, "Done.\n\nP.S. I hope so.", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "it is one.\n  p.p.s what if", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "it is one.\n  p.s. what if", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, BULLETS, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, DASHES, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, STARS, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, STARS, False),
    ("detectable_format:constrained_response", {}, "\n My answer is no.\n", True),
    ("detectable_format:constrained_response", {}, "My answer is no. I am learning.", True),
    ("detectable_format:constrained_response", {}, "My answer is none.", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "write:*hello*, or **hello** ", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one\n*two*\n*three\n", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "** ** and * *", False),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 3}, "Section 1, Section 2", False),
    ("detectable_format:multiple_sections", {"section_spliter": "DAY", "num_sections": 2}, "DAY 1\na\nDAY 2\nb", True),
    ("detectable_format:json_format", {}, '```JSON\n{"a": [1, 2]}\n```', True),
    ("detectable_format:json_format", {}, '{"a": 1', False),
    ("detectable_format:title", {}, "<<On Rain>>\nIt falls.", True),
    ("detectable_format:title", {}, "<< >>\nIt falls.", False),
    ("combination:two_responses", {}, "one\n******\ntwo", True),
    ("combination:two_responses", {}, "one\n******\none", False),
    ("combination:two_responses", {}, "one\n******\n******\ntwo", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a Poem."}, "write a poem. Roses", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a Poem."}, "Roses. Write a poem.", False),
    ("startend:start_checker", {"start_phrase": "Dear Ann"}, '"dear ann, how are you?"', True),
    ("startend:start_checker", {"start_phrase": "Dear Ann"}, "Oh dear Ann", False),
    ("startend:end_checker", {"end_phrase": "Any other questions?"}, '"So be it. any other questions?" ', True),
    ("startend:end_checker", {"end_phrase": "Any other questions?"}, "Any other questions? None.", False),
    ("startend:quotation", {}, ' "so it is" ', True),
    ("startend:quotation", {}, '"', False),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "NASA and ESA", True),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": "less than"}, "NASA", False),
    ("change_case:english_capital", {}, "ALL OF IT 1.", True),
    ("change_case:english_capital", {}, "All OF IT", False),
    ("change_case:english_lowercase", {}, "all of it 1.", True),
    ("change_case:english_lowercase", {}, "all of It", False),
    ("punctuation:no_comma", {}, "no pause", True),
    ("punctuation:no_comma", {}, "a, pause", False),
]  # fmt: skip
FIRST_WORD = {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "Now"}


@pytest.mark.parametrize(("instruction", "arguments", "text", "followed"), CASES)
def test_a_text_follows_an_instruction_or_not(
    instruction: str, arguments: Mapping[str, Any], text: str, followed: bool
) -> None:
    assert follows(text, instruction, arguments) is followed


@pytest.mark.parametrize(
    ("text", "followed"),
    [("One.\n\n'now,' two.\n\nthree", True), ("One.\n\nnowhere.\n\nthree", False), ("One.\n\nnow two", False),
     ("\n\nOne.\n\nnow\n\nthree", False), ("\n\n\n\nOne.\n\nnow\n\nthree", False)],
)  # fmt: skip
def test_the_first_word_of_a_paragraph(text: str, followed: bool) -> None:
    assert follows(text, "length_constraints:nth_paragraph_first_word", FIRST_WORD) is followed


def test_every_check_has_a_case_that_it_passes_and_one_that_it_fails() -> None:
    seen = {(instruction, followed) for instruction, _, _, followed in CASES}
    missing = {(name, followed) for name in CHECKS for followed in (True, False)} - seen
    assert {name for name, _ in missing} == {"length_constraints:nth_paragraph_first_word"}  # above


def test_an_empty_answer_follows_nothing_and_null_arguments_do_not_count() -> None:
    assert not follows("  \n", "punctuation:no_comma", {})
    assert follows("so", "punctuation:no_comma", {"num_words": None, "relation": None})


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        follows("a", "length_constraints:number_words", {"num_words": 1, "relation": "exactly"})


def test_words_and_sentences_are_counted_as_people_do() -> None:
    assert count_words("Hyphenated-word has two word counts.") == 6
    assert count_sentences("xx,x. xx,x! xx/x. x{x}x? x.") == 5
    assert count_sentences("Dr. Who met J. Smith at 3.5 p.m. today. He left!") == 2
    assert count_sentences('She said "go." Then nothing') == 2
    assert count_sentences("It was I. So it ends with etc.") == 2
    assert count_sentences("") == 0


def test_four_numbers_over_prompts_and_instructions() -> None:
    both = [("punctuation:no_comma", {}), ("change_case:english_lowercase", {})]
    whole = merge([
        statistics("all is well", both),
        statistics("Sure, here:\nall is well", both),  # right without its first line
        statistics("Well, no", [*both, ("language:response_language", {"language": "de"})]),
        statistics("anything", [("language:response_language", {"language": "de"})]),
    ])  # fmt: skip
    assert whole == (3, 1, 2, 6, 2, 4, 2)
    assert score(whole) == {
        "": 1 / 3, "prompt_loose": 2 / 3, "instruction_strict": 1 / 3, "instruction_loose": 2 / 3, "unjudged": 2
    }  # fmt: skip
    assert score(statistics("anything", [])) == {}


def test_a_loose_judge_tries_seven_shortenings() -> None:
    assert list(shortenings("*a*\nb\nc")) == ["b\nc", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b"]


def test_bug_22_nothing_is_downloaded_to_judge_an_answer() -> None:
    program = """
import socket, sys
socket.socket = None
from runtime.metrics.scoring import Reference, count, scores
asked = (("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}),)
sums = count(("instruction_following",), [("One. Two, e.g. this.", Reference("", asked))])
assert scores([sums])["instruction_following"] == 1.0
assert "nltk" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-P", "-c", program], check=False, timeout=120, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
