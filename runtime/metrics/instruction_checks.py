"""Checks of an answer against one instruction each, in the words of IFEval (Zhou et al. 2023, arXiv:2311.07911).

Ids and arguments are those of IFEval's own files (`instruction_id_list`, `kwargs`). Every check reads the text alone:
nothing is downloaded, no language is guessed. What IFEval leaves to a trained tokenizer of English is a rule here:

sentence   ends with . ! or ? (quotes and brackets after it belong to it) before white space or the end of the text,
           unless the word is a known abbreviation or a single capital letter
capital    a word of letters only in capitals; IFEval's two checks of case also ask that the text be English: not here
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Arguments: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[..., bool]

CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What `detectable_format:constrained_response` allows."""
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st jr sr vs etc fig no inc ltd co approx e.g i.e a.m p.m u.s u.k ph.d".split()  # noqa: SIM905  a table in words reads better than in quotes
)
_SENTENCE_END = re.compile(r"(\S*?)([.!?]+)[\"'\u201d\u2019)\]}]*(?=\s|$)")
_WORD = re.compile(r"\w+")


def count_words(text: str) -> int:
    """Runs of letters, digits and underscores: `well-known` is two words."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """Sentences by the rule above; words after the last end are one more."""
    count, end = 0, 0
    for found in _SENTENCE_END.finditer(text):
        word, marks = found[1].lstrip("\"'\u201c\u2018([{"), found[2]
        short = word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper() and word != "I")
        if marks == "." and short and text[found.end() :].strip():
            continue
        count, end = count + 1, found.end()
    return count + bool(_WORD.search(text[end:]))


def _compare(actual: int, relation: str, wanted: int) -> bool:
    """IFEval knows two relations; raises ValueError for another."""
    match relation:
        case "at least":
            return actual >= wanted
        case "less than":
            return actual < wanted
    raise ValueError(f'an instruction compares with "at least" or "less than", not {relation!r}')


def _keywords(text: str, *, keywords: Sequence[str]) -> bool:
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in keywords)


def _keyword_frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency)


def _forbidden_words(text: str, *, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letter_frequency(text: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compare(text.lower().count(letter.lower()), let_relation, let_frequency)


def _sentences(text: str, *, num_sentences: int, relation: str) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _words(text: str, *, num_words: int, relation: str) -> bool:
    return _compare(count_words(text), relation, num_words)


def _paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """Divided by `***`; an empty one is allowed at the beginning and at the end only."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def _first_word_of_paragraph(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs are divided by an empty line here."""
    parts = text.split("\n\n")
    filled = sum(bool(part.strip()) for part in parts)
    if filled != num_paragraphs or not 1 <= nth_paragraph <= filled:
        return False
    words = parts[nth_paragraph - 1].split()
    if not words:
        return False
    found = re.match(r"[^.,?!'\"]*", words[0].lstrip("'\""))
    return found is not None and found[0].lower() == first_word.lower()


def _placeholders(text: str, *, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, *, postscript_marker: str) -> bool:
    """Any spelling of `P.S.` and `P.P.S` counts; another marker as it stands. It need not begin a line."""
    spelled = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    pattern = spelled.get(postscript_marker, re.escape(postscript_marker.lower()))
    return re.search(pattern, text.lower()) is not None


def _bullets(text: str, *, num_bullets: int) -> bool:
    """Lines that begin with one asterisk or with a minus; exactly so many."""
    return len(re.findall(r"^\s*(?:\*[^*].*|-.*)$", text, re.MULTILINE)) == num_bullets


def _choice(text: str) -> bool:
    return any(choice in text for choice in CHOICES)


def _highlights(text: str, *, num_highlights: int) -> bool:
    """`*so*` and `**so**`, on one line, with something between."""
    once = [found for found in re.findall(r"\*[^\n*]*\*", text) if found.strip("*").strip()]
    twice = [found for found in re.findall(r"\*\*[^\n*]*\*\*", text) if found[2:-2].strip()]
    return len(once) + len(twice) >= num_highlights


def _sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) >= num_sections


def _json(text: str) -> bool:
    """JSON, bare or in a fence."""
    inner = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(inner)
    except ValueError:
        return False
    return True


def _title(text: str) -> bool:
    """`<<a title>>`."""
    return any(found.strip("<>").strip() for found in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str) -> bool:
    """Two different ones, divided by six asterisks."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def _repeats_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _starts(text: str, *, start_phrase: str) -> bool:
    return text.strip().strip('"').lower().startswith(start_phrase.strip().lower())


def _ends(text: str, *, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _capital_words(text: str, *, capital_frequency: int, capital_relation: str) -> bool:
    return _compare(sum(word.isupper() for word in _WORD.findall(text)), capital_relation, capital_frequency)


def _no_comma(text: str) -> bool:
    return "," not in text


def _quotation(text: str) -> bool:
    whole = text.strip()
    return len(whole) > 1 and whole[0] == whole[-1] == '"'


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _choice,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:start_checker": _starts,
    "startend:end_checker": _ends,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": str.isupper,
    "change_case:english_lowercase": str.islower,
    "punctuation:no_comma": _no_comma,
}
"""By IFEval's id. `startend:start_checker` (start_phrase) is ours; `language:response_language` is not here."""


def follows(text: str, instruction: str, arguments: Arguments) -> bool:
    """Whether `text` does what the instruction asks; an empty text does nothing.

    Arguments that are null do not count (IFEval's data on the hub writes all of them). Raises KeyError for an
    instruction that has no check, TypeError or ValueError for arguments that are not its own.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    check = CHECKS[instruction]
    return check(text, **given) if text.strip() else False
