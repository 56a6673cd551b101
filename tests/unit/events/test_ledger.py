"""The ledger: hand-made histories for everything that it must refuse, and for everything that it must survive."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.events import (
    ActorReady,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointWritten,
    Envelope,
    Event,
    GenerationStarted,
    RolledBack,
    RunFinished,
    RunStarted,
    StateHealed,
    StepAborted,
    StepCommitted,
    UnknownEvent,
    Warned,
    WorkerHung,
    WorkerLost,
)
from runtime.events.journal import encode_line
from runtime.events.ledger import Audit, Ledger, audit_journal
from runtime.events.ledger_samples import ReadingOrder
from runtime.events.replay import JournalReader
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ledger"
FIXTURE_ORDER = ReadingOrder(window_samples=20, epochs=2.5)
"""What the fixtures' configuration said: windows of two steps of ten samples, two and a half epochs of 96."""

BATCH, EPOCH = 4, 12
ZERO, ONE = Rank(0), Rank(1)


def started(first_step: int = 1, *, run_id: str = "a", samples: int = EPOCH, deterministic: bool = True) -> RunStarted:
    cursor = (first_step - 1) * BATCH
    step = Step(first_step)
    return RunStarted(
        "r", 2, step, Step(9), BATCH, "c", run_id, cursor=cursor, samples=samples, deterministic=deterministic
    )


def generation(number: int = 1, step: int = 1, ranks: tuple[Rank, ...] = (ZERO, ONE)) -> GenerationStarted:
    return GenerationStarted(Generation(number), Step(step), tuple((rank, Incarnation(1)) for rank in ranks))


def commit(step: int, number: int = 1) -> StepCommitted:
    """Step `step` of a run in file order: two shards of two samples."""
    cursor = (step - 1) * BATCH
    first, second, third, fourth = [(cursor + index) % EPOCH for index in range(BATCH)]
    return StepCommitted(
        step=Step(step),
        generation=Generation(number),
        cursor=Cursor(cursor),
        samples=BATCH,
        applied=True,
        loss=1.0,
        tokens=8,
        grad_norm=1.0,
        learning_rate=0.1,
        seconds=0.1,
        owners=(ZERO, ONE),
        sample_ids=((first, second), (third, fourth)),
    )


def commits(first: int, last: int, number: int = 1) -> list[Event]:
    return [commit(step, number) for step in range(first, last + 1)]


def finished(step: int) -> RunFinished:
    return RunFinished("done", Step(step), 1.0)


def enveloped(events: Iterable[Event], first: int = 1) -> list[Envelope]:
    return [Envelope(seq, 1000.0, ActorPath("run"), event) for seq, event in enumerate(events, first)]


def audit_of(envelopes: Iterable[Envelope], order: ReadingOrder | None = None, torn_after: int = 0) -> Audit:
    ledger = Ledger()
    for envelope in envelopes:
        ledger.feed(envelope)
    return ledger.close(order, torn_after)


def audit(*events: Event | Iterable[Event], order: ReadingOrder | None = None) -> Audit:
    flat: list[Event] = []
    for event in events:
        flat.extend(event if isinstance(event, Iterable) else [event])
    return audit_of(enveloped(flat), order)


# ---- what holds


def test_a_quiet_run_is_proven() -> None:
    told = audit(started(), generation(), commits(1, 9), finished(9))
    assert told.proven
    assert (told.steps, told.first_step, told.last_step, told.samples, told.epochs) == (9, 1, 9, 36, 3.0)
    assert (told.generations, told.sessions, told.committed, told.repeated) == (1, 1, 9, 0)
    assert set(told.faults.values()) == {0}
    assert (told.violations, told.notes) == ((), ())


def test_a_resumption_voids_what_came_after_its_checkpoint() -> None:
    told = audit(
        started(), generation(), commits(1, 5), started(4, run_id="b"), generation(), commits(4, 9), finished(9)
    )
    assert told.proven
    assert (told.steps, told.committed, told.repeated, told.sessions) == (9, 11, 2, 2)
    assert told.faults["resumptions"] == 1
    assert told.faults["steps lost in resumptions"] == 2


def test_a_resumption_from_the_beginning_voids_everything() -> None:
    assert audit(started(), commits(1, 5), started(1, run_id="b"), commits(1, 9)).proven


def test_a_rollback_voids_the_commits_after_it() -> None:
    told = audit(started(), commits(1, 6), RolledBack(Step(6), Step(2), "explosion"), generation(2), commits(3, 9, 2))
    assert told.proven
    assert (told.repeated, told.faults["rollbacks"], told.faults["steps lost in rollbacks"]) == (4, 1, 4)
    assert told.notes == ("rolled back from step 6 to 2: explosion",)


def test_the_successor_of_a_coordinator_that_committed_nothing_is_no_resumption() -> None:
    told = audit(started(), started(), commits(1, 3))
    assert told.proven
    assert (told.sessions, told.faults["resumptions"]) == (1, 0)


def test_a_run_that_began_from_a_checkpoint_elsewhere_says_so() -> None:
    told = audit(started(4), commits(4, 9))
    assert told.proven
    assert told.notes == ("the run began at step 4 from a checkpoint; what is before is another ledger's",)


def test_an_unfinished_epoch_is_no_violation() -> None:
    assert audit(started(), commits(1, 4)).proven


def test_generations_begin_anew_with_each_session() -> None:
    assert audit(started(), commits(1, 3, 7), started(4, run_id="b"), commits(4, 6, 1)).proven


def test_faults_survived_are_counted_by_kind() -> None:
    rank, incarnation, step = Rank(1), Incarnation(1), Step(1)
    told = audit(
        ActorReady(ActorPath("run/coordinator"), Incarnation(1)),
        started(),
        WorkerHung(rank, incarnation, "exchange", 9.0, 5.0),
        WorkerLost(rank, incarnation, "killed"),
        StepAborted(step, Generation(1), "worker 1 left"),
        ActorReady(ActorPath("run/coordinator"), Incarnation(2)),
        ActorReady(ActorPath("run/node/worker-1"), Incarnation(2)),
        StateHealed(rank, step, 1.0, 10),
        CheckpointFailed(step, "disk full"),
        CheckpointRejected("checkpoints/step-00000001", "truncated"),
        replace(commit(1), applied=False, loss=math.nan, grad_norm=math.inf),
    )
    assert told.proven
    assert {kind: times for kind, times in told.faults.items() if times} == {
        "workers lost": 1,
        "workers hung": 1,
        "workers healed": 1,
        "coordinator restarts": 1,
        "steps repeated": 1,
        "steps skipped": 1,
        "checkpoints failed": 1,
        "checkpoints rejected": 1,
    }


# ---- what does not


def bent(step: int, **changes: object) -> list[Event]:
    """Nine steps, with one of them bent."""
    return [replace(commit(each), **changes) if each == step else commit(each) for each in range(1, 10)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("events", "violations"),
    [
        ([], ["no RunStarted says how many samples an epoch has", "no step was committed: there is nothing to prove"]),
        ([started()], ["no step was committed: there is nothing to prove"]),
        (commits(1, 3), ["no RunStarted says how many samples an epoch has"]),
        ([started(samples=0), *commits(1, 3)], ["no RunStarted says how many samples an epoch has"]),
        (
            [started(), *commits(1, 3), *commits(6, 9)],
            ["steps 4 to 5 are not in the ledger, though step 6 is"],
        ),
        (
            [started(), *commits(2, 9)],
            ["the ledger begins with step 2 at sample 4, the run with step 1 at sample 0"],
        ),
        (
            [started(), *commits(1, 4), *commits(4, 9)],
            ["step 4 was committed again after step 4, and nothing was rolled back"],
        ),
        (
            [started(), *commits(1, 3), started(6, run_id="b")],
            ["steps 4 to 5 are not in the ledger, though the run went on from step 5"],
        ),
        (
            [started(), *commits(1, 3), finished(4)],
            ["step 4 is not in the ledger, though the run went on from step 4"],
        ),
        (
            [started(), started(3, run_id="b"), *commits(3, 9)],
            ["the ledger begins with step 3 at sample 8, the run with step 1 at sample 0"],
        ),
        (
            [started(), *commits(1, 3), started(4, run_id="b", samples=13)],
            ["an epoch had 12 samples, and 13 from step 4 on"],
        ),
        (
            [started(), *bent(5, cursor=Cursor(17))],
            [
                "step 5 begins at sample 17, but the steps before it ended at 16",
                "step 6 begins at sample 20, but the steps before it ended at 21",
            ],
        ),
        (
            [started(), *commits(1, 3, 2), *commits(4, 9, 1)],
            ["step 4 is of generation 1, after one of 2"],
        ),
        (
            [started(), *bent(5, sample_ids=())],
            [
                "step 5 consumed 4 samples, but names 0",
                "step 5 has 0 shards with samples, but 2 with an owner",
                "samples 4, 5, 6, 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(5, owners=(ZERO,))],
            ["step 5 has 2 shards with samples, but 1 with an owner"],
        ),
        (
            [started(), *bent(5, owners=(ZERO, Rank(-1)))],
            ["step 5 counts shards of -1, no member of generation 1"],
        ),
        (
            [started(), generation(ranks=(ZERO,)), *commits(1, 1)],
            ["step 1 counts shards of 1, no member of generation 1"],
        ),
        (
            [started(), *bent(5, loss=math.nan)],
            ["step 5 was applied though its loss or its gradient is not finite"],
        ),
        (
            [started(), *bent(5, grad_norm=math.inf)],
            ["step 5 was applied though its loss or its gradient is not finite"],
        ),
        (
            [started(), *bent(5, sample_ids=((4, 5), (6, 12)))],
            [
                "step 5 names sample 12, but an epoch has samples 0 to 11",
                "sample 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(5, sample_ids=((4, 5), (6, 6)))],
            [
                "sample 6 taken more often than 2 times by the end of step 5 (6 in steps 2, 5)",
                "sample 7 taken less often than 2 times by the end of step 6",
            ],
        ),
        (
            [started(), *bent(2, sample_ids=commit(1).sample_ids)],
            [
                "samples 0, 1, 2, 3 taken more often than 1 times by the end of step 2 (0 in steps 1, 2)",
                "samples 4, 5, 6, 7 taken less often than 1 times by the end of step 3",
            ],
        ),
    ],
)
def test_a_history_that_breaks_a_promise_is_refused(events: list[Event], violations: list[str]) -> None:
    told = audit(events)
    assert list(told.violations) == violations
    assert not told.proven


def test_many_samples_are_told_by_the_first_of_them() -> None:
    told = audit(
        started(), [replace(event, sample_ids=((0, 0), (0, 0))) for event in (commit(1), commit(2), commit(3))]
    )
    assert told.violations[-1] == (
        "samples 1, 2, 3, 4, 5 and 6 more taken less often than 1 times by the end of step 3"
    )


@pytest.mark.parametrize("deterministic", [True, False])
def test_two_hashes_of_one_state_must_agree(deterministic: bool) -> None:
    checkpoint = CheckpointWritten(Step(3), "checkpoints/step-00000003", 1, 1.0, "aaaa")
    same, other = replace(commit(4), parameter_hash="aaaa"), replace(commit(4), parameter_hash="bbbb")
    begin = started(deterministic=deterministic)
    assert audit(begin, commits(1, 3), checkpoint, same).proven
    assert audit(begin, commits(1, 3), checkpoint, other).violations == (
        "the parameters after step 3 are aaaa by the checkpoint of step 3 and bbbb by the vote on step 4",
    )


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_repeated_step_must_give_the_same_parameters_only_in_a_deterministic_run(deterministic: bool) -> None:
    def history(number: int, digest: str) -> list[Event]:
        return [commit(3, number), replace(commit(4, number), parameter_hash=digest)]

    back = RolledBack(Step(4), Step(2), "lost")
    told = audit(started(deterministic=deterministic), commits(1, 2), history(1, "aaaa"), back, history(2, "bbbb"))
    assert told.proven is not deterministic


# ---- windows of the data order


def shuffled(windows: list[list[int]]) -> list[Event]:
    """One step for each list of four samples."""
    return [
        replace(commit(step), sample_ids=(tuple(ids[:2]), tuple(ids[2:]))) for step, ids in enumerate(windows, start=1)
    ]


ACROSS = shuffled([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 6, 7], [8, 9, 10, 11]])
"""The window of steps 3 and 4 holds the end of one epoch and the beginning of the next."""


def test_a_window_may_mix_the_end_of_an_epoch_with_the_beginning_of_the_next() -> None:
    assert audit(started(), ACROSS, order=ReadingOrder(2 * BATCH)).proven
    assert audit(started(), ACROSS).violations[0].startswith("samples 0, 1 taken more often than 1 times")


def test_a_sample_that_comes_twice_within_its_window_is_refused_at_the_windows_end() -> None:
    wrong = shuffled([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 8, 9], [0, 3, 10, 11]])
    assert audit(started(), wrong, order=ReadingOrder(2 * BATCH)).violations == (
        "sample 0 taken more often than 2 times by the end of step 4 (0 in steps 1, 3, 4)",
    )


def test_an_unfinished_window_is_checked_as_far_as_it_goes() -> None:
    told = audit(started(), ACROSS[:3], order=ReadingOrder(2 * BATCH))
    assert told.proven
    assert told.notes == (
        "steps 3 to 3 end within a window of the data order: each sample was taken 0 to 2 times by then, "
        "which only the window's end evens out",
    )


def test_the_last_window_ends_with_the_run() -> None:
    order = ReadingOrder(2 * BATCH, epochs=1.0)
    assert audit(started(), ACROSS[:2], shuffled([[]] * 2 + [[8, 9, 10, 11]])[2:], order=order).proven
    assert not audit(started(), ACROSS[:3], order=order).proven


# ---- holes in the journal


HISTORY = [started(), generation(), *commits(1, 9), finished(9)]
"""Facts 1 and 2 begin the run, 3 to 11 are its commits, 12 ends it."""


def with_hole(first: int, last: int, history: list[Event] | None = None) -> list[Envelope]:
    return [one for one in enveloped(history or HISTORY) if not first <= one.seq <= last]


def test_a_lost_commit_is_missed() -> None:
    assert audit_of(with_hole(5, 5)).violations == ("step 3 is not in the ledger, though step 4 is",)


@pytest.mark.parametrize(
    ("others", "proven"), [(1, True), (3, True), (4, False)], ids=["a fact", "less than a session", "maybe a session"]
)
def test_a_hole_between_commits_of_one_generation_hides_nothing_while_it_is_small(others: int, proven: bool) -> None:
    history: list[Event] = [started(), *commits(1, 3), *[Warned("here", "it rains")] * others, *commits(4, 9)]
    told = audit_of(with_hole(5, 4 + others, history))
    assert told.proven is proven
    assert (told.notes if proven else told.violations)[0].startswith(
        f"{'a fact is' if others == 1 else f'{others} facts are'} missing after fact 4"
    )


def test_a_hole_where_the_generation_changes_could_hide_a_rollback() -> None:
    warned = Warned("here", "it rains")
    told = audit_of(with_hole(5, 6, [started(), *commits(1, 3), warned, warned, *commits(4, 9, 2)]))
    assert told.violations == ("2 facts are missing after fact 4: a commit or a rollback could be among them",)


def test_a_new_beginning_makes_every_hole_before_it_harmless() -> None:
    history = [*HISTORY[:11], commit(10), started(1, run_id="b"), *commits(1, 9)]
    assert audit_of(with_hole(4, 11, history)).proven
    assert audit_of(with_hole(4, 12, history)).proven


@pytest.mark.parametrize(
    "after",
    [[RolledBack(Step(3), Step(2), "lost")], [started(4, run_id="b")], [finished(3)]],
    ids=["a rollback", "a resumption", "the end"],
)
def test_a_single_lost_fact_is_no_commit_if_what_follows_fits(after: list[Event]) -> None:
    history: list[Event] = [started(), *commits(1, 3), Warned("here", "it rains"), *after]
    assert audit_of(with_hole(5, 5, history)).proven


def test_a_hole_at_the_end_may_hold_a_commit() -> None:
    events = enveloped(HISTORY[:6])
    assert audit_of(events).proven
    told = audit_of(events, torn_after=1)
    assert told.violations == ("a fact is missing after fact 6: a commit or a rollback could be among them",)


def test_the_end_closes_a_hole_only_if_it_names_the_last_commit() -> None:
    assert not audit_of(with_hole(11, 11)).proven
    assert not audit_of(with_hole(11, 11, [*HISTORY[:11], finished(0)])).proven


def test_a_commit_that_cannot_be_read_is_a_hole() -> None:
    broken = UnknownEvent("StepCommitted", {"step": "ten"})
    told = audit(started(), commits(1, 3), broken)
    assert not told.proven
    assert told.notes == ("fact 5, a StepCommitted, cannot be read",)
    assert audit(started(), commits(1, 3), UnknownEvent("MoonRose", {})).proven


def test_numbers_that_go_back_betray_a_second_writer() -> None:
    told = audit_of([*enveloped(HISTORY), *enveloped([commit(9)], first=4)])
    assert told.violations == ("fact 4 comes again after fact 12: two processes wrote this",)


# ---- journals as files


def journal(path: Path, envelopes: list[Envelope]) -> JournalReader:
    path.write_bytes(b"".join(encode_line(envelope) for envelope in envelopes))
    return JournalReader(path)


def test_a_torn_line_that_was_numbered_again_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal(path, enveloped([started(), *commits(1, 3)]))
    with path.open("ab") as file:
        file.write(encode_line(Envelope(5, 1.0, ActorPath("run"), commit(4)))[:40] + b"\n")
        for envelope in enveloped([started(4, run_id="b"), *commits(4, 9)], first=5):
            file.write(encode_line(envelope))
    told = audit_journal(JournalReader(path), ReadingOrder())
    assert told.proven
    assert told.notes == (
        "a fact is missing after fact 4; no commit that counts can be among them",
        f"{path}: 1 torn lines were skipped (the first is line 5)",
    )


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_end_may_be_a_commit(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "events.jsonl"
    journal(path, enveloped(HISTORY[:6]))
    with path.open("ab") as file:
        file.write(b'{"seq":7,"t":' + end)
    assert not audit_journal(JournalReader(path), ReadingOrder()).proven


def test_without_an_order_samples_are_expected_to_stay_in_their_step(tmp_path: Path) -> None:
    told = audit_journal(journal(tmp_path / "events.jsonl", enveloped(HISTORY)))
    assert told.proven
    assert told.notes == ("without the run's config.toml samples are taken to stay in their step",)


def test_a_real_run_with_a_killed_worker_a_killed_coordinator_and_a_killed_root_is_proven() -> None:
    told = audit_journal(JournalReader(FIXTURES / "survived.jsonl"), FIXTURE_ORDER)
    assert told.violations == ()
    assert told.proven
    assert (told.steps, told.samples, told.committed, told.repeated, told.sessions) == (24, 240, 27, 3, 2)
    assert (told.faults["coordinator restarts"], told.faults["steps lost in resumptions"]) == (1, 3)


def test_commits_that_a_dying_root_did_not_write_down_are_missed() -> None:
    """A real run: its workers went on, and saved step 8, for the moment in which the killed root took them with it."""
    told = audit_journal(JournalReader(FIXTURES / "root_killed.jsonl"), FIXTURE_ORDER)
    assert told.violations == ("steps 7 to 8 are not in the ledger, though step 9 is",)
