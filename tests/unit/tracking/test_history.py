"""What a tracker is told, fact by fact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from runtime.events import (
    CheckpointWritten,
    Envelope,
    EvaluationFinished,
    Event,
    GenerationStarted,
    RolledBack,
    RunStarted,
    SampleGenerated,
    ShardsMoved,
    StepCommitted,
    WorkerLost,
)
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from runtime.tracking.history import Answers, Artifact, Entry, History, Row

ZERO, ONE = Rank(0), Rank(1)
STARTED = RunStarted("tiny", 2, Step(1), Step(8), 16, "hash")
STEP = StepCommitted(
    Step(3), Generation(1), Cursor(32), 16, True, 1.5, 100, 0.5, 1e-3, 2.0, useful_tokens=300,
    owners=(ZERO, ONE, ONE), sample_ids=((1, 2), (3,), (4, 5)),
)  # fmt: skip


def told(history: History, *facts: Event) -> list[Entry]:
    return [entry for fact in facts for entry in history.take(Envelope(1, 0.0, ActorPath("run"), fact))]


def rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [dict(entry.values) for entry in entries if isinstance(entry, Row)]


def evaluation(step: int, loss: float) -> EvaluationFinished:
    return EvaluationFinished(Step(step), "held-out", loss, 10, 0.5, 1.0, (("perplexity", 2.0), ("rougeL", 0.25)))


def checkpoint(step: int) -> CheckpointWritten:
    return CheckpointWritten(Step(step), f"checkpoints/step-{step}", 100, 0.5)


def test_a_step_is_one_row_over_its_own_axis() -> None:
    members = ((ZERO, Incarnation(1)), (ONE, Incarnation(1)))
    (row,) = rows(told(History(), STARTED, GenerationStarted(Generation(1), Step(1), members), STEP))
    assert (row["train/step"], row["train/loss"], row["train/samples"], row["run/workers"]) == (3, 1.5, 48, 2)
    assert (row["train/tokens_per_second"], row["train/trained_tokens_per_second"]) == (150.0, 50.0)
    assert row["run/attempt"] == 1


def test_repeated_steps_are_told_apart_by_the_attempt() -> None:
    history = History()
    first = rows(told(history, STARTED, STEP))
    back = rows(told(history, RolledBack(Step(3), Step(0), "why"), STEP))
    resumed = rows(told(history, STARTED, STEP))
    assert [row["run/attempt"] for row in (*first, *back, *resumed)] == [1, 2, 3]
    assert {row["train/step"] for row in (*first, *back, *resumed)} == {3}


def test_an_evaluation_is_a_row_of_everything_that_was_measured() -> None:
    (row,) = rows(told(History(), evaluation(4, 1.25)))
    assert row["train/step"] == 4
    assert {name: row[name] for name in row if name.startswith("eval/")} == {
        "eval/loss": 1.25, "eval/token_accuracy": 0.5, "eval/perplexity": 2.0, "eval/rougeL": 0.25
    }  # fmt: skip


def test_answers_become_a_table_when_they_are_all_there() -> None:
    history = History()
    one, two = (SampleGenerated(Step(4), prompt, "e", "a") for prompt in ("p", "q"))
    assert told(history, one, two) == []
    assert told(history, STARTED) == [Answers(4, (("p", "e", "a"), ("q", "e", "a")))]
    later = replace(one, step=Step(8))
    assert told(history, one, later) == [Answers(4, (("p", "e", "a"),))]
    assert history.finish() == [Answers(8, (("p", "e", "a"),))]
    assert history.finish() == []


def test_each_rank_has_a_row_of_its_own_where_that_is_wanted() -> None:
    assert len(told(History(), STEP)) == 1
    history = History(per_rank=True)
    moved = ShardsMoved(Step(3), (), (), ((ONE, 99.0),))
    lost = WorkerLost(ONE, Incarnation(1), "killed", 0.1)
    main, zero, one = told(history, moved, lost, STEP)
    assert isinstance(main, Row)
    assert main.rank is None
    assert zero == Row({"train/step": 3, "rank/shards": 1, "rank/lost": 0, "rank/samples": 2}, ZERO)
    assert one == Row(
        {"train/step": 3, "rank/shards": 2, "rank/lost": 1, "rank/samples": 3, "rank/positions_per_second": 99.0}, ONE
    )


def uploads(history: History) -> list[tuple[int, tuple[str, ...]]]:
    story = [evaluation(2, 2.0), checkpoint(2), evaluation(4, 1.0), checkpoint(4), evaluation(6, 3.0), checkpoint(6),
             checkpoint(8)]  # fmt: skip
    entries = [*told(history, *story), *history.finish()]
    return [(entry.step, entry.aliases) for entry in entries if isinstance(entry, Artifact)]


def test_the_checkpoints_that_are_wanted_are_uploaded_with_their_aliases() -> None:
    best = [(2, ("step-2", "latest", "best")), (4, ("step-4", "latest", "best"))]
    rest = [(6, ("step-6", "latest")), (8, ("step-8", "latest"))]
    assert uploads(History()) == []
    assert uploads(History(upload="best")) == best
    assert uploads(History(upload="last")) == rest[1:]
    assert uploads(History(upload="all")) == best + rest
    assert [step for step, _ in uploads(History(mode="max", upload="best"))] == [2, 6]
    assert uploads(History(metric="eval/bleu", upload="best")) == []


def test_a_checkpoint_carries_what_was_measured_of_it() -> None:
    found = told(History(upload="all"), evaluation(4, 1.0), checkpoint(4))[-1]
    assert isinstance(found, Artifact)
    assert (found.path, found.metrics["eval/loss"]) == ("checkpoints/step-4", 1.0)


def test_a_step_that_took_no_time_has_no_rate() -> None:
    (row,) = rows(told(History(), replace(STEP, seconds=0.0)))
    assert row["train/tokens_per_second"] != row["train/tokens_per_second"]  # NaN
