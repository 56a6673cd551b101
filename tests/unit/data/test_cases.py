"""The peers' cases and users' bugs about batches, lengths, shards and resumption, each with its number in its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.config.data import DataSettings
from runtime.config.validate import validate
from runtime.data.batches import GlobalShape, Shaping, eval_micros, make_micros, padded_tokens
from runtime.data.dataset import Datasets, load_datasets
from runtime.data.encoded import Encoded
from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.data.tokens import TokenDataset
from runtime.errors import DataError
from runtime.flow import Micro
from runtime.ids import Cursor, ShardId
from tests.unit.data.conftest import samples_of

SHARD = ShardId(0)


def micros_of(*samples: Encoded, pad_multiple: int = 1) -> tuple[Micro, ...]:
    dataset = TokenDataset.of(samples)
    shape = GlobalShape(len(samples), max(len(sample.ids) for sample in samples))
    return make_micros(dataset, {SHARD: range(len(samples))}, shape, Shaping(8, pad_multiple))


def labels_of(micro: Micro) -> list[list[int]]:
    return np.where(micro.mask_BT > 0, micro.tokens_BT, -100).tolist()


def load(folder: Path, tokenizer: Any, rows: list[dict[str, Any]], **rules: Any) -> Datasets:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tables = {"source": [{"path": "rows.jsonl"}], "max_drop_fraction": 1.0, **rules}
    return load_datasets(DataSettings.model_validate(tables), tokenizer, base=folder)


def everything(count: int, *, seed: int = 0, batch: int = 8, shards: int = 4) -> list[dict[ShardId, list[int]]]:
    """One epoch: what each shard takes in each step."""
    plan = BatchPlan(SampleOrder(seed, count), np.full(count, 5, np.int64), batch, 3, count)
    cursors = range(0, count, batch)
    return [
        {shard: ids.tolist() for shard, ids in plan.shards(Cursor(cursor), min(batch, count - cursor), shards).items()}
        for cursor in cursors
    ]


def test_case_14_rows_are_padded_on_the_right_and_padding_is_no_target() -> None:
    """Labels begin with -100 here: nothing predicts a row's first token."""
    (micro,) = micros_of(Encoded((1, 2, 3), (0, 1, 1)), Encoded((4, 5), (0, 1)))
    assert sorted(micro.tokens_BT.tolist()) == [[1, 2, 3], [4, 5, 0]]
    assert sorted(labels_of(micro)) == [[-100, 2, 3], [-100, 5, -100]]


@pytest.mark.parametrize(("length", "tokens"), [(2, 5), (5, 5), (6, 9)])
def test_case_15_positions_are_padded_to_a_multiple(length: int, tokens: int) -> None:
    """Peers pad tokens to 4; a model sees one position less than a row has tokens, and positions are what compiles."""
    assert padded_tokens(length, 4) == tokens
    (micro,) = micros_of(Encoded(tuple(range(length)), (0,) + (1,) * (length - 1)), pad_multiple=4)
    assert micro.tokens_BT.shape == micro.mask_BT.shape == (1, tokens)


def test_bug_01_padding_is_never_a_target_whatever_the_width() -> None:
    """Prompt of 6 and answer of 3: three targets, and not the four of a mask that is off by one."""
    sample = Encoded(tuple(range(1, 10)), (0,) * 6 + (1,) * 3)
    for multiple in (1, 32, 64):
        (micro,) = micros_of(sample, pad_multiple=multiple)
        assert micro.mask_BT[:, 1:].sum() == 3
        assert not micro.mask_BT[:, 9:].any()


def test_case_17_a_row_that_truncation_leaves_nothing_to_learn_of_is_dropped(tmp_path: Path, tokenizer: Any) -> None:
    rows = [
        {"input_ids": [1, 2, 3, 4, 5], "mask": [0, 0, 0, 1, 1]},
        {"input_ids": [6, 7, 8], "mask": [1, 1, 1]},
    ]
    found = load(tmp_path, tokenizer, rows, max_length=3, overlength="truncate")
    assert [found.train.sample(number)[0].tolist() for number in range(len(found.train))] == [[6, 7, 8]]
    assert (found.report.dropped, found.report.truncated) == (1, 0)


def test_bug_02_a_prompt_that_fills_the_length_is_dropped_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"prompt": "x" * 9, "completion": "y"}, {"prompt": "x", "completion": "y"}]
    report = load(tmp_path, tokenizer, rows, max_length=9, overlength="truncate").report
    assert (report.train_samples, report.dropped) == (1, 1)


def test_bug_05_a_pad_token_that_ends_texts_too_is_learnt_where_it_ends_one(tmp_path: Path, tokenizer: Any) -> None:
    end = tokenizer.eos_token_id
    found = load(tmp_path, tokenizer, [{"text": "long enough"}, {"text": "x"}]).train
    (micro,) = make_micros(found, {SHARD: [0, 1]}, GlobalShape(2, 12), Shaping(8, 4))
    short = micro.tokens_BT[:, 1].tolist().index(end)
    assert micro.mask_BT[short].tolist()[:3] == [0, 1, 0]


def test_bug_11_a_truncated_row_learns_no_end_that_is_not_there(tmp_path: Path, tokenizer: Any) -> None:
    found = load(tmp_path, tokenizer, [{"text": "abcdefgh"}], max_length=4, overlength="truncate").train
    ids, mask = found.sample(0)
    assert (bytes(ids.tolist()), mask.tolist()) == (b"abcd", [0, 1, 1, 1])


@pytest.mark.parametrize(("length", "kept"), [(9, 1), (10, 0)])
def test_case_31_a_sample_of_exactly_the_limit_is_kept(tmp_path: Path, tokenizer: Any, length: int, kept: int) -> None:
    rows = [{"input_ids": [5] * length}, {"input_ids": [1, 2]}]
    found = load(tmp_path, tokenizer, rows, max_length=9)
    assert (len(found.train) - 1, found.report.dropped) == (kept, 1 - kept)


def test_case_31_all_dropped_is_said_and_an_unknown_policy_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="no training sample is left"):
        load(tmp_path, tokenizer, [{"input_ids": [5] * 10}], max_length=9)
    with pytest.raises(DataError, match=r"rows\.jsonl:1 has 10 tokens, more than data\.max_length = 9"):
        load(tmp_path, tokenizer, [{"input_ids": [5] * 10}], max_length=9, overlength="error")
    _, findings = validate({"data": {"overlength": "shorten"}})
    assert findings[0].path == ("data", "overlength")


@pytest.mark.parametrize("batch", [4, 8])
@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 42])
def test_case_32_shards_divide_the_same_batches_whatever_was_drawn_before(seed: int, batch: int, shards: int) -> None:
    whole = everything(128, seed=seed, batch=batch, shards=1)
    np.random.default_rng(7).random(3)
    divided = everything(128, seed=seed, batch=batch, shards=shards)
    for together, apart in zip(whole, divided, strict=True):
        assert [apart[ShardId(shard)] for shard in range(shards)] == [
            together[SHARD][shard::shards] for shard in range(shards)
        ]
    assert everything(128, seed=1, batch=batch) != everything(128, seed=seed, batch=batch)


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [1, 2, 8, 17, 33])
def test_bug_13_and_case_33_shards_are_disjoint_and_together_everything(count: int, shards: int) -> None:
    taken = [sample for step in everything(count, shards=shards) for ids in step.values() for sample in ids]
    assert sorted(taken) == list(range(count))


def test_bug_14_every_share_of_17_samples_ends_at_the_same_step() -> None:
    steps = everything(17, shards=3)
    assert [len(step) for step in steps] == [3, 3, 3]
    assert sum(len(ids) for step in steps for ids in step.values()) == 17
    micros = [eval_micros(samples_of([5] * 17), share, 3, Shaping(4, 4)) for share in range(3)]
    assert sum(int(micro.mask_BT.any(axis=1).sum()) for share in micros for micro in share) == 17


@pytest.mark.parametrize("stop", [0, 1, 2, 500, 1500, 1999])
def test_bug_15_and_case_34_a_run_stopped_anywhere_goes_on_with_the_rest(stop: int) -> None:
    plan = BatchPlan(SampleOrder(0, 2000), np.arange(2000) % 37 + 2, 1, 64, 2000)
    again = BatchPlan(SampleOrder(0, 2000), np.arange(2000) % 37 + 2, 1, 64, 2000)
    seen = [int(plan.samples(Cursor(cursor), 1)[0]) for cursor in range(stop)]
    rest = [int(again.samples(Cursor(cursor), 1)[0]) for cursor in range(stop, 2000)]
    assert sorted(seen + rest) == list(range(2000))


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_case_35_every_epoch_of_every_seed_is_a_permutation(seed: int, epoch: int) -> None:
    order = SampleOrder(seed, 97)
    ids = order.ids(np.arange(97 * epoch, 97 * (epoch + 1)))
    assert sorted(ids.tolist()) == list(range(97))


def test_bug_21_seed_0_is_a_seed_like_any_other() -> None:
    first = SampleOrder(0, 97).ids(np.arange(97))
    np.random.default_rng(0).permutation(97)
    assert first.tolist() == SampleOrder(0, 97).ids(np.arange(97)).tolist() != list(range(97))
