from __future__ import annotations

from typing import Any

import pytest

from runtime.config.sentences import LONGEST_SHOWN, expectation, shown
from runtime.config.validate import validate


def complaint(table: str, key: str, value: Any) -> str:
    _, (finding,) = validate({table: {key: value}})
    return f"{finding.fact}; {finding.fix}" if finding.fix else finding.fact


@pytest.mark.parametrize(
    ("table", "key", "value", "expected"),
    [
        ("model", "quantize_bits", 4.0, "must be 0, 4 or 8, got 4.0; write 4"),
        ("model", "quantize_bits", True, "must be 0, 4 or 8, got true"),
        ("model", "quantize_bits", "8", 'must be 0, 4 or 8, got "8"; write 8 without quotes'),
        ("optim", "loss_scale", "1024", 'must be "dynamic" or a number > 0, got "1024"; write 1024 without quotes'),
        ("optim", "eps", ".5", 'must be a number > 0, got ".5"; write 0.5 without quotes'),
        ("optim", "eps", "inf", 'must be a number > 0, got "inf"'),
        ("train", "epochs", [1.0], "must be a number >= 0, got [1.0]"),
        ("train", "steps", {"a": 1}, "must be an integer >= 0, got a table"),
        ("train", "steps", 2.5, "must be an integer >= 0, got 2.5"),
        ("train", "steps", "2.5", 'must be an integer >= 0, got "2.5"'),
        ("train", "compile", "1", 'must be true or false, got "1"; write true'),
        ("train", "compile", "maybe", 'must be true or false, got "maybe"'),
        ("parallel", "split", 4, "must be a list of integers >= 1, got 4; write [4]"),
        ("parallel", "split", "4", 'must be a list of integers >= 1, got "4"'),
        ("cluster", "env", ["A=b"], 'must be a table of text, got ["A=b"]'),
        ("cluster", "env", [{"A": "b"}], "must be a table of text, got a list of tables"),
        (
            "data",
            "source",
            {"path": "a"},
            "must be a list of tables, got a table; write [[data.source]] in double brackets",
        ),
        ("data", "source", 3, "must be a list of tables, got 3"),
        ("run", "seed", 2**63, f"must be an integer >= 0 and < {2**63}, got {2**63}"),
    ],
)
def test_a_wrong_value_is_answered_with_what_belongs_there(table: str, key: str, value: Any, expected: str) -> None:
    assert complaint(table, key, value) == expected


def test_a_list_of_choices_names_them() -> None:
    from runtime.config.fields import all_keys

    field = all_keys()["eval", "generate", "metrics"]
    assert expectation(field.annotation).startswith('a list of words among "exact_match", "bleu"')


def test_a_long_value_is_shortened() -> None:
    assert len(shown("x" * 500)) == LONGEST_SHOWN
    assert shown(1 << 50_000).startswith("0x1000")


def test_a_table_with_the_name_of_a_key_is_sent_to_the_key() -> None:
    _, (finding,) = validate({"eval": 100})
    assert finding.fact == "must be a table, got 100"
    assert "[eval]" in finding.fix
