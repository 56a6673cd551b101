"""Curves by name: what is given of them, and that a reader who takes pieces ends with the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events import EvaluationFinished, RolledBack
from runtime.events.curve import Bucket
from runtime.ids import Step
from runtime.view.metrics import chosen, curve_of, history, names, since
from tests.unit.view.told import after, begun, commit, steps

EVALUATED = EvaluationFinished(Step(2), "held-out", 3.0, 10, 0.5, metrics=(("perplexity", 20.0),))


def test_a_run_has_the_metrics_that_were_measured() -> None:
    assert names(after(begun())) == ()
    found = names(after([*begun(), *steps(1, 3), EVALUATED]))
    assert found[:2] == ("loss", "grad_norm")
    assert found[-3:] == ("held-out/loss", "held-out/token_accuracy", "held-out/perplexity")


def test_metrics_are_chosen_by_patterns() -> None:
    state = after([*begun(), *steps(1, 3), EVALUATED])
    assert chosen(state, ["loss", "*/perp*"]) == ("loss", "held-out/perplexity")


def test_scores_of_evaluations_are_curves_too() -> None:
    state = after([*begun(), *steps(1, 3), EVALUATED])
    assert [(bucket.step, bucket.last) for bucket in curve_of(state, "held-out/perplexity")] == [(2, 20.0)]
    assert list(curve_of(state, "held-out/nothing")) == []


def test_a_history_has_no_more_buckets_than_asked_for_and_keeps_the_extremes() -> None:
    state = after(begun() + [commit(step, loss=99.0 if step == 37 else 2.0) for step in range(1, 101)])
    piece = history(state, "loss", most=10)
    assert (piece.width, len(piece.buckets)) == (16, 7)
    assert max(bucket.maximum for bucket in piece.buckets) == 99.0
    assert history(state, "loss", first_step=90, most=20).buckets[0].step == 90
    assert [bucket.step for bucket in history(state, "loss", first_step=3, last_step=5, most=20).buckets] == [3, 4, 5]
    assert len(history(state, "loss", most=0).buckets) == 1


def test_a_reader_behind_a_rollback_must_begin_anew() -> None:
    state = after(begun() + steps(1, 20))
    assert since(state, "loss", 1, 20) is not None
    assert since(after([RolledBack(Step(20), Step(10), "spike")], state), "loss", 1, 20) is None
    assert since(state, "loss", 0, 20) is None
    assert since(state, "nothing", 1, 1) is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 64))
@settings(max_examples=40, deadline=None)
def test_pieces_add_up_to_the_whole_curve(batches: list[int], most: int) -> None:
    state = after(begun())
    kept: dict[int, Bucket] = {}
    step, width = 0, 0
    for batch in batches:
        state = after(steps(step + 1, step + batch), state)
        piece = since(state, "loss", width, step) if width and step // width < 2 * most else None
        if piece is None:
            piece, kept = history(state, "loss", most=most), {}
        step, width = step + batch, piece.width
        kept |= {bucket.step // width: bucket for bucket in piece.buckets}
    wider = curve_of(state, "loss")
    while wider.width < width:
        wider = wider.coarser()
    assert list(kept.values()) == list(wider)
