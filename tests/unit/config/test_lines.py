from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.config.lines import line_index
from runtime.config.places import Path
from tests.unit.config.strategies import NAMES, toml_texts


def paths(value: Any, around: Path = ()) -> Iterator[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, element in inner:
        yield (*around, part)
        yield from paths(element, (*around, part))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(toml_texts())
def test_every_path_of_any_toml_text_has_its_line(written: tuple[str, Mapping[Path, int]]) -> None:
    text, expected = written
    assert line_index(text) == expected
    assert set(expected) == set(paths(tomllib.loads(text)))


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.integers() | st.text("a\"'\\#[]{}=,.\n", max_size=8), lambda v: st.lists(v) | st.dictionaries(NAMES, v)
    )
)
def test_what_our_writer_of_toml_writes_is_indexed_whole(value: Any) -> None:
    import tomli_w

    text = tomli_w.dumps({"top": value}, multiline_strings=True)
    assert set(line_index(text)) == set(paths(tomllib.loads(text)))


def test_a_header_counts_more_than_a_line_that_implies_its_table() -> None:
    index = line_index("[model.adapter]\nrank = 8\n\n[model]\npath = ''\n")
    assert index["model",] == 4
    assert index["model", "adapter"] == 1


def test_a_table_without_a_header_stands_where_it_is_first_implied() -> None:
    assert line_index("\ntrain.steps = 1\ntrain.epochs = 0\n") == {
        ("train",): 2,
        ("train", "steps"): 2,
        ("train", "epochs"): 3,
    }


def test_a_table_below_a_list_of_tables_belongs_to_the_last_element() -> None:
    text = "[[data.source]]\n[[data.source]]\npath = 'b'\n[data.source.columns]\noutput = 'answer'\n"
    index = line_index(text)
    assert index["data", "source"] == 1
    assert index["data", "source", 1] == 2
    assert index["data", "source", 1, "columns", "output"] == 5


def test_the_lines_within_a_long_list_and_behind_it_are_right() -> None:
    text = 'a = [\n  1, # one\n\n  [2,\n   3],\n]\ns = """\n[x]\ny = 1\n"""\nb = 2\n'
    index = line_index(text)
    assert index["a", 0] == 2
    assert index["a", 1] == 4
    assert index["a", 1, 1] == 5
    assert index["s",] == 7
    assert index["b",] == 11


def test_carriage_returns_do_not_count_as_lines() -> None:
    assert line_index("a = 1\r\nb = 2\r\n") == {("a",): 1, ("b",): 2}
