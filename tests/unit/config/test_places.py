from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config.places import Finding, Path, Places, dotted, overlap, parse_dotted

PARTS = st.text("abz_-09. '\t", min_size=1, max_size=4)


@given(st.tuples(PARTS, st.lists(PARTS | st.integers(0, 9), max_size=4)))
def test_the_dotted_form_reads_back(parts: tuple[str, list[str | int]]) -> None:
    path: Path = (parts[0], *parts[1])
    if "\t" not in "".join(str(part) for part in path):
        assert parse_dotted(dotted(path)) == path


@pytest.mark.parametrize("text", ["", ".", "a.", "a[", "a[-1]", "[0]", "a b", "a..b", 'a."b'])
def test_what_is_no_dotted_key_reads_as_nothing(text: str) -> None:
    assert parse_dotted(text) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(("a",), ("a", "b"), True), (("a", "b"), ("a", "c"), False), (("a", "b"), ("a", "b"), True), ((), ("a",), True)],
)
def test_a_key_overlaps_with_itself_and_with_its_tables(
    one: tuple[str, ...], other: tuple[str, ...], expected: bool
) -> None:
    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


PLACES = Places("run.toml", {("train",): 3, ("train", "steps"): 4}, frozenset({("optim", "betas")}))


def test_a_value_that_nobody_wrote_stands_at_the_header_of_its_table() -> None:
    assert PLACES.place(("train", "epochs")) == "run.toml:3 train.epochs"
    assert PLACES.place(("sync", "every")) == "run.toml:1 sync.every"


def test_what_an_override_wrote_stands_on_the_command_line_with_all_its_elements() -> None:
    assert PLACES.place(("optim", "betas", 1)) == "--set optim.betas[1]"
    assert PLACES.origin(("optim", "betas", 1)) == "--set"
    assert not PLACES.written(("optim",))


def test_findings_are_ordered_down_the_file_and_then_the_command_line() -> None:
    paths: list[Path] = [("optim", "betas"), ("train", "steps"), ("sync", "every"), ("train",)]
    ordered = sorted((Finding(path, "x") for path in paths), key=PLACES.order)
    assert [finding.path for finding in ordered] == [
        ("sync", "every"),
        ("train",),
        ("train", "steps"),
        ("optim", "betas"),
    ]
