"""The validator says what is wrong with a schedule, whatever somebody did to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.pipeline.actions import (
    Action,
    Backward,
    BackwardWeight,
    Compute,
    Forward,
    Payload,
    Receive,
    Schedule,
    Send,
)
from runtime.pipeline.schedules import build
from runtime.pipeline.transfers import with_transfers
from runtime.pipeline.validator import faults

GOOD = build("1f1b", 2, 3)


def changed(stage: int, change: Callable[[list[Action]], object], schedule: Schedule = GOOD) -> list[str]:
    lists = [list(actions) for actions in schedule.actions]
    change(lists[stage])
    return faults(replace(schedule, actions=tuple(map(tuple, lists))))


def swapped(first: int, second: int) -> Callable[[list[Action]], None]:
    def change(actions: list[Action]) -> None:
        actions[first], actions[second] = actions[second], actions[first]

    return change


def test_a_sound_schedule_has_no_fault() -> None:
    assert faults(GOOD) == []


def test_a_backward_pass_that_never_runs_is_found() -> None:
    found = changed(1, lambda actions: actions.remove(Backward(1)))
    assert "stage 1: micro-batch 1 in chunk 0 runs F, not FB or FIW" in found


def test_a_backward_pass_before_its_forward_is_found() -> None:
    assert any("runs BF" in fault for fault in changed(1, swapped(1, 2)))


def test_weights_before_the_gradient_of_the_input_are_found() -> None:
    zb = build("zb-h1", 1, 1)
    assert any("runs FWI" in fault for fault in changed(0, swapped(1, 2), zb))


def test_a_micro_batch_that_is_not_part_of_the_step_is_found() -> None:
    assert any("(7, 0) is not part" in fault for fault in changed(0, lambda actions: actions.append(Forward(7))))


def test_weight_gradients_out_of_order_are_found() -> None:
    orders: list[list[Compute]] = [[Forward(0), Forward(1), Backward(1), Backward(0)]]
    schedule = replace(build("gpipe", 1, 2), actions=with_transfers(orders, 1))
    assert faults(schedule) == ["stage 0: the weights' gradients of chunk 0 are summed in the order [1, 0]"]


def test_a_forward_without_its_activation_is_found() -> None:
    receive = Receive(Payload.ACTIVATION, 0, 0, 0, 0)
    found = changed(1, lambda actions: actions.remove(receive))
    assert any("is reached without Receive" in fault for fault in found)


def test_a_message_that_nobody_reads_and_one_that_comes_twice_are_found() -> None:
    receive = Receive(Payload.ACTIVATION, 0, 0, 0, 0)
    found = changed(1, lambda actions: actions.insert(0, receive))
    assert any("is read by nobody" in fault for fault in found)
    assert any("happens 2 times" in fault for fault in found)


def test_an_activation_that_is_never_sent_or_too_early_is_found() -> None:
    send = Send(Payload.ACTIVATION, 0, 0, 0, 1)
    assert any("is missing" in fault for fault in changed(0, lambda actions: actions.remove(send)))
    assert any("before anything made" in fault for fault in changed(0, swapped(0, 1)))


def test_more_activations_than_the_formula_allows_are_found() -> None:
    gpipe = build("gpipe", 2, 3)
    found = faults(replace(gpipe, name="1f1b"))
    assert found[0] == "stage 0: keeps 3 activations at once; 1f1b allows 2"


def test_a_wrong_number_of_stages_is_found() -> None:
    assert faults(replace(GOOD, stages=3)) == ["2 lists of actions for 3 stages"]


def test_stages_that_wait_for_each_other_are_found() -> None:
    interleaved = build("interleaved", 4, 11, 2)
    assert faults(interleaved) == []
    (found,) = faults(replace(interleaved, capacity=2))
    assert found.startswith("every stage waits: stage 0 at Send")


def test_messages_in_another_order_than_they_are_waited_for_are_found() -> None:
    orders: list[list[Compute]] = [
        [Forward(0), Forward(1), Backward(0), Backward(1)],
        [Forward(1), Forward(0), Backward(0), Backward(1)],
    ]
    (found,) = faults(replace(build("gpipe", 2, 2), actions=with_transfers(orders, 1)))
    assert "but the next message of that channel is Send" in found


@pytest.mark.parametrize("half", [BackwardWeight(0), Backward(0)])
def test_a_pass_that_runs_twice_is_found(half: Backward | BackwardWeight) -> None:
    assert any("not FB or FIW" in fault for fault in changed(0, lambda actions: actions.append(half)))
