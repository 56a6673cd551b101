"""The choice of a schedule: by simulation, under the memory cap, and told in words."""

from __future__ import annotations

import pytest

from runtime.pipeline.choice import choose
from runtime.pipeline.partition import Cost, Device, ModelCosts, NoPartition
from runtime.pipeline.simulator import Link

FREE = [Device()] * 4


def model(layers: int, *, activation: int = 0, weight_s: float = 1.0) -> ModelCosts:
    return ModelCosts((Cost(1, 1, weight_s, 10, activation),) * layers, message_bytes=100)


def test_zb_h1_wins_where_weight_gradients_can_fill_the_bubble() -> None:
    choice = choose(model(4), FREE, 16)
    assert choice.chosen.schedule.name == "zb-h1"
    assert choice.chosen.partition.layers == (1, 1, 1, 1)
    assert choice.reason.startswith(
        "zb-h1 51 s (bubble 5.9 %): the fastest by simulation; 1f1b 57 s (bubble 15.8 %), gpipe 57 s"
    )
    assert dict(choice.refused).keys() == {"interleaved"}


def test_interleaving_wins_where_there_are_no_weight_gradients() -> None:
    choice = choose(model(8, weight_s=0.0), FREE, 8)
    assert choice.chosen.schedule.name == "interleaved"
    assert choice.chosen.partition.layers == (1,) * 8
    assert choice.chosen.partition.chunks == 2


def test_the_simplest_wins_where_all_are_nearly_alike() -> None:
    choice = choose(model(2), FREE[:2], 200)
    assert choice.chosen.schedule.name == "1f1b"
    assert "the simplest within 2 % of the fastest" in choice.reason


def test_slow_links_speak_against_twice_the_messages() -> None:
    links = [Link(latency_s=4.0)] * 4
    assert choose(model(8, weight_s=0.0), FREE, 8, links=links).chosen.schedule.name != "interleaved"


def test_memory_decides_before_speed() -> None:
    tight = [Device(memory_bytes=10 + 4 * 7)] * 4
    choice = choose(model(4, activation=7), tight, 16)
    assert "gpipe" in dict(choice.refused)
    assert all(needed <= 38 for needed in choice.chosen.stage_bytes)
    assert choice.chosen.schedule.name in {"1f1b", "zb-h1"}


def test_a_schedule_that_the_configuration_names_is_taken() -> None:
    choice = choose(model(4), FREE, 4, schedule="gpipe")
    assert choice.chosen.schedule.name == "gpipe"
    assert choice.reason.endswith("named by the configuration")
    assert choice.others == ()


def test_a_split_of_the_user_is_kept_and_excludes_interleaving() -> None:
    choice = choose(model(8), FREE[:2], 8, split=(3, 5))
    assert choice.chosen.partition.layers == (3, 5)
    assert dict(choice.refused)["interleaved"].startswith("a split says the layers of whole stages")


def test_a_split_that_does_not_fit_says_which_stage() -> None:
    with pytest.raises(NoPartition, match="1f1b: stage 1 needs"):
        choose(model(4), [Device(29)] * 2, 2, schedule="1f1b", split=(1, 3))


def test_when_nothing_fits_every_schedule_says_why() -> None:
    with pytest.raises(NoPartition, match=r"1f1b: no cut .*; gpipe: no cut .*; zb-h1: no cut .*; interleaved: "):
        choose(model(4), [Device(5)] * 2, 4)


def test_one_stage_needs_no_schedule_but_the_simplest() -> None:
    assert choose(model(4), FREE[:1], 4).chosen.schedule.name == "1f1b"
