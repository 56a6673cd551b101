from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config.fields import all_keys, all_tables
from runtime.config.peers import KEYS_OF_PEERS, TABLES_OF_PEERS
from runtime.config.spelling import edit_distance, fewest_edits, likely_choice, likely_keys, likely_tables


def hints(unknown: str) -> list[str]:
    return [".".join(key) for key in likely_keys(tuple(unknown.split(".")))]


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("optim.learning_rat", ["optim.lr"]),
        ("optim.learning_rate", ["optim.lr"]),
        ("learningRate", ["optim.lr"]),
        ("train.lr", ["optim.lr"]),
        ("train.num_train_epochs", ["train.epochs"]),
        ("train.epoch", ["train.epochs"]),
        ("train.max-steps", ["train.steps"]),
        ("iters", ["train.steps"]),
        ("max_seq_length", ["data.max_length"]),
        ("train.max_seq_lenght", ["data.max_length"]),
        ("train.batch_size", ["train.global_batch_size", "train.micro_batch_size"]),
        ("parallel.num_workers", ["data.prefetch", "parallel.workers"]),
        ("supervision.intensty", ["supervision.intensity"]),
        ("supervision.backof_s", ["supervision.backoff_s"]),
        ("checkpoint.metrics", ["eval.generate.metrics"]),
        ("optim.optim.lr", ["optim.lr"]),
        ("console.zzzzzz", []),
    ],
)
def test_the_likely_key_of_a_slip_or_of_another_trainers_word(unknown: str, meant: list[str]) -> None:
    assert hints(unknown) == meant


def test_a_name_that_many_tables_have_suggests_at_most_three() -> None:
    assert len(hints("train.every")) == 3


def test_among_equals_the_same_table_wins() -> None:
    assert hints("checkpoint.evry") == ["checkpoint.every"]
    assert hints("sync.evry") == ["sync.every"]


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("optimizer", "optim"),
        ("trian", "train"),
        ("lora", "model.adapter"),
        ("train.optim", "optim"),
        ("evaluation", "eval"),
    ],
)
def test_the_likely_table(unknown: str, meant: str) -> None:
    assert ".".join(likely_tables(tuple(unknown.split(".")))[0]) == meant


@pytest.mark.parametrize("key", all_keys(), ids=".".join)
def test_one_letter_too_many_still_finds_the_key(key: tuple[str, ...]) -> None:
    assert key in likely_keys((*key[:-1], key[-1] + "x")) or len(key[-1]) < 3


def test_every_word_of_the_peers_points_at_a_key_that_exists() -> None:
    assert {name for names in KEYS_OF_PEERS.values() for name in names} <= {".".join(key) for key in all_keys()}
    assert {name for names in TABLES_OF_PEERS.values() for name in names} <= {".".join(key) for key in all_tables()}


@pytest.mark.parametrize(
    ("text", "meant"),
    [("AdamW", "adamw"), ("adamm", "adam"), ("bf16", "bfloat16"), ("off", "disabled"), ("quartz", "")],
)
def test_the_likely_choice(text: str, meant: str) -> None:
    assert likely_choice(text, ["adamw", "adam", "bfloat16", "disabled"]) == meant


def test_no_choices_no_hint() -> None:
    assert likely_choice("x", []) == ""


SHORT = st.text("abc", max_size=6)


@given(SHORT, SHORT)
def test_distance_is_symmetric_bounded_and_zero_only_for_equals(one: str, other: str) -> None:
    distance = edit_distance(one, other)
    assert distance == edit_distance(other, one)
    assert abs(len(one) - len(other)) <= fewest_edits(one, other) <= distance <= max(len(one), len(other))
    assert (distance == 0) == (one == other)


@pytest.mark.parametrize(("one", "other", "distance"), [("train", "trian", 1), ("lr", "", 2), ("kitten", "sitting", 3)])
def test_distances_that_everybody_knows(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == distance
