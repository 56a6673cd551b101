"""A pipeline gives the gradients of one device, whatever the schedule: the plain reference is spelled out here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import mlx.core as mx
import pytest
from mlx import nn
from mlx.utils import tree_unflatten

from runtime.errors import ProtocolError
from runtime.flow import Micro
from runtime.models.piece import Tree
from runtime.pipeline.actions import SCHEDULE_NAMES, Payload, Receive
from runtime.pipeline.schedules import build as schedule_of
from runtime.pipeline.stage import Stage, Totals
from runtime.trainer.gradients import trainable
from tests.unit.pipeline import models
from tests.unit.pipeline.rehearsal import Channels, anatomy_of, cut, micros_of, rehearse, together

RTOL, ATOL = 1e-5, 4e-5
SHORT = {"llama": (2, 3), "qwen3": (3, 4), "gemma3": (4, 4)}
"""(stages, micro-batches) in CI; the whole table is opt_in."""
WHOLE = [(stages, rounds * stages + more) for stages in (2, 3, 4) for rounds, more in ((1, 0), (2, 1), (3, 0), (4, 0))]


def reference(model: Any, micros: Sequence[Micro]) -> tuple[list[mx.array], Tree]:
    """Losses by micro-batch and the summed gradients of one device that holds the whole model."""
    parameters = trainable(model)

    def rows(given: Tree, micro: Micro) -> mx.array:
        model.update(tree_unflatten(list(given.items())))
        tokens, mask = mx.array(micro.tokens_BT), mx.array(micro.mask_BT)
        losses = nn.losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
        return (losses * mask[:, 1:]).sum(axis=-1)

    losses = [rows(parameters, micro) for micro in micros]
    gradients = mx.grad(lambda given: sum((rows(given, micro).sum() for micro in micros), mx.array(0.0)))(parameters)
    mx.eval(losses, gradients)
    model.update(tree_unflatten(list(parameters.items())))
    return losses, gradients


def differing(got: Tree, expected: Tree) -> list[str]:
    """The names whose gradients are not there, not expected, or not the same."""
    wrong = [name for name in got.keys() & expected.keys() if not same(got[name], expected[name])]
    return sorted([*wrong, *(got.keys() ^ expected.keys())])


def same(got: mx.array, expected: mx.array) -> bool:
    return bool(mx.allclose(got, expected, rtol=RTOL, atol=ATOL).item())


def compare(kind: str, stages: int, micro_batches: int) -> dict[str, list[str]]:
    """By schedule: the parameters whose gradients differ from one device's, and `losses` if those do."""
    found = {}
    model = models.build(kind, num_hidden_layers=2 * stages)
    anatomy = anatomy_of(model)
    micros = micros_of(micro_batches, rows=1)
    losses, expected = reference(model, micros)
    for name in SCHEDULE_NAMES:
        schedule = schedule_of(name, stages, micro_batches, 2 if name == "interleaved" else 1)
        sinks = rehearse(schedule, cut(model, anatomy, schedule.positions), micros, trainable(model))
        got, got_losses = together(sinks)
        equal = all(same(one, other) for one, other in zip(got_losses, losses, strict=True))
        found[name] = differing(got, expected) + ([] if equal else ["losses"])
    return found


@pytest.mark.long
@pytest.mark.parametrize("kind", models.KINDS)
def test_every_schedule_gives_the_gradients_of_one_device(kind: str) -> None:
    assert compare(kind, *SHORT[kind]) == {name: [] for name in SCHEDULE_NAMES}


@pytest.mark.opt_in
@pytest.mark.parametrize(("kind", "case"), list(product(models.KINDS, WHOLE)))
def test_the_whole_table_of_stages_and_micro_batches(kind: str, case: tuple[int, int]) -> None:
    assert compare(kind, *case) == {name: [] for name in SCHEDULE_NAMES}


@pytest.mark.parametrize("quantised", [False, True], ids=["plain base", "4-bit base"])
def test_adapters_over_a_frozen_base_get_the_gradients_of_one_device(quantised: bool) -> None:
    model = models.with_adapters(
        models.build("llama", hidden_size=32, intermediate_size=64, head_dim=16), quantised=quantised
    )
    anatomy = anatomy_of(model)
    micros = micros_of(2, rows=1)
    _, expected = reference(model, micros)
    schedule = schedule_of("zb-h1", 4, 2)
    pieces = cut(model, anatomy, 4)
    assert pieces[0].trained == (), "the first stage has nothing to train: LoRA is on the last six of eight layers"
    got, _ = together(rehearse(schedule, pieces, micros, trainable(model)))
    assert differing(got, expected) == []


def test_the_sums_do_not_depend_on_the_schedule() -> None:
    model = models.build("qwen3", num_hidden_layers=2)
    anatomy = anatomy_of(model)
    micros = micros_of(4, rows=1)
    sums = [
        together(rehearse(schedule_of(name, 2, 4), cut(model, anatomy, 2), micros, trainable(model)))[0]
        for name in ("gpipe", "1f1b", "zb-h1")
    ]
    for other in sums[1:]:
        assert all(mx.array_equal(other[name], value) for name, value in sums[0].items())


def test_a_tied_table_gets_a_gradient_at_both_ends_and_none_in_between() -> None:
    model = models.build("qwen3", num_hidden_layers=3)
    anatomy = anatomy_of(model)
    sinks = rehearse(schedule_of("1f1b", 3, 1), cut(model, anatomy, 3), micros_of(1), trainable(model))
    (table,) = anatomy.tied
    assert [table in sink.by_name for sink in sinks] == [True, False, True]


def test_activations_in_bfloat16_cross_the_boundary_as_they_are() -> None:
    model = models.build("qwen3", num_hidden_layers=4)
    model.set_dtype(mx.bfloat16)
    anatomy = anatomy_of(model)
    micros = micros_of(2)
    one = rehearse(schedule_of("gpipe", 1, 2), cut(model, anatomy, 1), micros, trainable(model))
    four = rehearse(schedule_of("gpipe", 4, 2), cut(model, anatomy, 4), micros, trainable(model))
    whole, cut_in_four = together(one)[0], together(four)[0]
    (table,) = anatomy.tied  # its two halves are rounded apart, then added
    assert all(mx.array_equal(cut_in_four[name], value) for name, value in whole.items() if name != table)
    assert whole[table].dtype == mx.float32


def test_a_message_of_another_size_is_refused() -> None:
    model = models.build("llama", num_hidden_layers=2)
    anatomy = anatomy_of(model)
    last = cut(model, anatomy, 2)[1]
    other = micros_of(1, tokens=9)[0]
    link = Channels(2)
    schedule = schedule_of("gpipe", 2, 1)
    sink = Totals()
    Stage([cut(model, anatomy, 2)[0]]).run(schedule.actions[0][:2], [other], trainable(model), link, sink)
    link.stage = 1
    assert schedule.actions[1][0] == Receive(Payload.ACTIVATION, 0, 0, 0, 0)
    with pytest.raises(ProtocolError, match="the stages differ"):
        Stage([last]).run(schedule.actions[1], micros_of(1), trainable(model), link, sink)


def test_a_stage_owns_what_its_pieces_compute_with() -> None:
    model = models.build("qwen3", num_hidden_layers=4)
    anatomy = anatomy_of(model)
    pieces = cut(model, anatomy, 4)
    both = Stage([pieces[0], pieces[2]])
    assert both.owned == pieces[0].owned | pieces[2].owned
    assert not both.owned & pieces[1].owned
