from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.checkpoint import layout
from runtime.checkpoint.retention import Keeping, Saved, best, prune, saved_in, surplus
from runtime.ids import Step
from tests.unit.checkpoint.worlds import save


def saved(*losses: float | None, pinned: tuple[int, ...] = ()) -> list[Saved]:
    """Steps 1, 2, 3, ... with these losses."""
    return [
        Saved(Step(step), {} if loss is None else {"eval/loss": loss}, step in pinned)
        for step, loss in enumerate(losses, 1)
    ]


@pytest.mark.parametrize(
    ("losses", "keeping", "goes"),
    [
        ((), Keeping(), ()),
        ((None,) * 5, Keeping(keep_last=3, keep_best=0), (1, 2)),
        ((None,) * 2, Keeping(keep_last=3, keep_best=0), ()),
        ((3.0, 1.0, 2.0, 4.0), Keeping(keep_last=1, keep_best=1), (1, 3)),
        ((3.0, 1.0, 2.0, 4.0), Keeping(keep_last=1, keep_best=1, mode="max"), (1, 2, 3)),
        ((3.0, 1.0, 2.0, 4.0), Keeping(keep_last=1, keep_best=2), (1,)),
        ((1.0, 1.0, 2.0), Keeping(keep_last=1, keep_best=1), (1,)),
        ((float("nan"), float("-inf"), 5.0, 6.0), Keeping(keep_last=1, keep_best=1), (1, 2)),
        ((1.0, None, 3.0), Keeping(keep_last=1, keep_best=1, metric="eval/accuracy"), (1, 2)),
        ((1.0, 2.0, 3.0), Keeping(keep_last=0, keep_best=0), (1, 2)),
    ],
)
def test_what_the_rule_gives_up(losses: tuple[float | None, ...], keeping: Keeping, goes: tuple[int, ...]) -> None:
    assert surplus(saved(*losses), keeping) == goes


def test_a_pinned_one_stays() -> None:
    assert surplus(saved(None, None, None, pinned=(1,)), Keeping(keep_last=1, keep_best=0)) == (2,)


@given(
    losses=st.lists(st.none() | st.floats(), max_size=12),
    keep_last=st.integers(0, 5),
    keep_best=st.integers(0, 5),
    mode=st.sampled_from(["min", "max"]),
)
def test_the_newest_never_goes_and_the_promised_numbers_stay(
    losses: list[float | None], keep_last: int, keep_best: int, mode: str
) -> None:
    keeping = Keeping(keep_last, keep_best, mode=mode)
    all_of_them = saved(*losses)
    goes = surplus(all_of_them, keeping)
    stays = [each.step for each in all_of_them if each.step not in goes]
    assert stays[-max(1, keep_last) :] == [each.step for each in all_of_them][-max(1, keep_last) :]
    assert set(best(all_of_them, keeping)[:keep_best]) <= set(stays)
    assert len(stays) <= max(1, keep_last) + keep_best


def test_pruning_removes_folders_and_says_each(tmp_path: Path) -> None:
    save(tmp_path, 1, pinned=True)
    save(tmp_path, 2, 3, 4)
    (tmp_path / "step-00000003" / "manifest.json").write_text("damaged: not for retention to judge")
    told: list[tuple[int, str]] = []
    keeping = Keeping(keep_last=1, keep_best=0)

    def note(step: Step, folder: Path) -> None:
        told.append((step, folder.name))

    prune(tmp_path, keeping, on_removed=note, dry_run=True)
    assert (tmp_path / "step-00000002").exists()
    prune(tmp_path, keeping, on_removed=note)
    assert told == [(2, "step-00000002")] * 2
    assert [path.name for path in layout.checkpoint_folders(tmp_path)] == [
        "step-00000004",
        "step-00000003",
        "step-00000001",
    ]
    assert [each.step for each in saved_in(tmp_path)] == [1, 4]
