"""Reading while training: the samples are those of reading before it, memory is constant, and resuming is exact."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runtime.config.data import DataSettings
from runtime.data.batches import Shaping
from runtime.data.dataset import Datasets, add_to_quarantine, load_datasets
from runtime.data.feeder import make_batch
from runtime.data.files import Row
from runtime.data.order import SampleOrder, WindowedOrder
from runtime.data.plan import BatchPlan
from runtime.data.records import Quarantined
from runtime.data.rows import ForwardRows
from runtime.data.streaming import open_datasets
from runtime.errors import DataError
from runtime.flow import StepOrder
from runtime.ids import Cursor, Generation, Rank, Step

SIZE = 40
SHAPING = Shaping(4, 4)


def settings_of(path: str, cache: Path, **keys: Any) -> DataSettings:
    tables = {"streaming": True, "cache_dir": str(cache), "source": [{"path": path}], **keys}
    return DataSettings.model_validate(tables)


def write(path: Path, rows: list[Any]) -> None:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def rows_of(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    return [
        {"input_ids": [100 + i, *rng.integers(1, 99, int(n)).tolist()]}
        for i, n in enumerate(rng.integers(1, 20, count))
    ]


def opened(folder: Path, rows: list[Any], tokenizer: Any, **keys: Any) -> tuple[Datasets, list[Quarantined]]:
    write(folder / "train.jsonl", rows)
    said: list[Quarantined] = []
    options = {name: keys.pop(name) for name in ("window", "workers", "examples") if name in keys}
    data = settings_of("train.jsonl", folder / "cache", **keys)
    return open_datasets(data, tokenizer, base=folder, report=said.append, **{"window": 16, **options}), said


def test_streamed_samples_are_those_that_would_have_been_read_before(tmp_path: Path, tokenizer: Any) -> None:
    streamed, _ = opened(tmp_path, rows_of(SIZE), tokenizer, examples=2)
    data = settings_of("train.jsonl", tmp_path / "cache", streaming=False)
    whole = load_datasets(data, tokenizer, base=tmp_path)
    assert len(streamed.train) == len(whole.train) == SIZE
    for number in (7, 0, 39, 7):
        for found, expected in zip(streamed.train.sample(number), whole.train.sample(number), strict=True):
            assert found.tolist() == expected.tolist()
    assert len(streamed.examples) == 2
    assert str(streamed.report).startswith("40 streamed and 0 held-out samples, 0 quarantined; tokens: train.jsonl:1")


def batches(datasets: Datasets, workers: int, steps: range, seed: int = 0) -> list[list[int]]:
    """First token of every sample of each step, by worker."""
    plan = BatchPlan(SampleOrder(seed, SIZE), datasets.train.lengths, 8, 2)
    found = []
    for step in steps:
        owners = tuple(Rank(shard % workers) for shard in range(8))
        order = StepOrder(Generation(1), Step(step), Cursor((step - 1) * 8), 8, owners, owners)
        taken = []
        for rank in range(workers):
            batch = make_batch(datasets.train, plan, SHAPING, order, Rank(rank))
            taken += [
                int(micro.tokens_BT[row, 0]) for micro in batch.micros for row in np.flatnonzero(micro.mask_BT.any(1))
            ]
        found.append(sorted(taken))
    return found


def test_an_epoch_takes_each_line_once_over_any_number_of_workers_and_resumes_anywhere(
    tmp_path: Path, tokenizer: Any
) -> None:
    whole = batches(opened(tmp_path, rows_of(SIZE), tokenizer)[0], 1, range(1, 6))
    assert sorted(token for batch in whole for token in batch) == [100 + number for number in range(SIZE)]
    assert whole != batches(opened(tmp_path, rows_of(SIZE), tokenizer)[0], 1, range(1, 6), seed=1)
    for workers in (2, 3):
        assert batches(opened(tmp_path, rows_of(SIZE), tokenizer)[0], workers, range(1, 6)) == whole
    assert batches(opened(tmp_path, rows_of(SIZE), tokenizer)[0], 2, range(4, 6)) == whole[3:]


def test_memory_holds_two_windows_and_no_more(tmp_path: Path, tokenizer: Any) -> None:
    train = opened(tmp_path, rows_of(200), tokenizer, window=20)[0].train
    for number in range(200):
        train.sample(number)
    assert len(train._kept) == 40  # type: ignore[attr-defined]  # the promise is about memory


def test_bad_lines_weigh_nothing_are_reported_once_and_keep_their_numbers(tmp_path: Path, tokenizer: Any) -> None:
    rows: list[Any] = rows_of(SIZE)
    rows[3], rows[5], rows[6] = "{broken", {"text": "no ids"}, ""
    datasets, said = opened(tmp_path, rows, tokenizer, max_bad_fraction=0.5)
    for _ in range(2):
        datasets.train.prepare(range(SIZE))
    assert [(bad.line, bad.reason.partition(":")[0]) for bad in said] == [
        (4, "not JSON"), (6, "column input_ids is not a list of whole numbers"),
    ]  # fmt: skip
    assert [datasets.train.length(number) for number in (3, 5, 6)] == [0, 0, 0]
    found = batches(datasets, 2, range(1, 6))
    assert sorted(token for batch in found for token in batch) == [
        100 + number for number in range(SIZE) if number not in {3, 5, 6}
    ]


def test_too_many_bad_or_long_samples_end_the_run_and_one_does_where_none_is_allowed(
    tmp_path: Path, tokenizer: Any
) -> None:
    rows: list[Any] = [*rows_of(SIZE), "{broken"]
    datasets, _ = opened(tmp_path, rows, tokenizer)
    with pytest.raises(
        DataError, match=r"1 of the first 41 records of this worker are malformed.*train.jsonl:41 not J"
    ):
        datasets.train.prepare(range(41))
    datasets, _ = opened(tmp_path, rows, tokenizer, bad_sample="error")
    with pytest.raises(DataError, match=r'bad_sample = "error"\): .*:41 not JSON'):
        datasets.train.prepare([40])
    datasets, _ = opened(tmp_path, rows_of(SIZE), tokenizer, max_length=4)
    with pytest.raises(DataError, match=r"of the first 40 samples .* longer than data.max_length = 4"):
        datasets.train.prepare(range(SIZE))


def test_the_fingerprint_follows_files_and_rules(tmp_path: Path, tokenizer: Any) -> None:
    first = opened(tmp_path, rows_of(SIZE), tokenizer)[0].train.fingerprint
    data = settings_of("train.jsonl", tmp_path / "cache", max_length=64)
    assert open_datasets(data, tokenizer, window=4, base=tmp_path).train.fingerprint != first
    assert opened(tmp_path, rows_of(SIZE + 1), tokenizer)[0].train.fingerprint != first


def test_what_cannot_be_streamed_is_refused_by_name(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "a.json", rows_of(2))
    with pytest.raises(DataError, match=r"a.json cannot be read line by line; convert it to .jsonl"):
        open_datasets(settings_of("a.json", tmp_path), tokenizer, window=4, base=tmp_path)
    with pytest.raises(DataError, match="are empty"):
        opened(tmp_path, [], tokenizer, source=[{"path": "train.jsonl", "format": "tokens"}])


def test_a_pipe_is_read_once_by_one_worker_in_windows(tmp_path: Path, tokenizer: Any) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is a pipe, which one worker can read, not 2"):
        open_datasets(settings_of("pipe", tmp_path), tokenizer, window=4, workers=2, base=tmp_path)
    holder = os.open(pipe, os.O_RDWR)  # both ends, so that nobody waits for the other
    os.write(holder, "".join(json.dumps(row) + "\n\n" for row in rows_of(SIZE)).encode())
    train = open_datasets(settings_of("pipe", tmp_path), tokenizer, window=4, base=tmp_path).train
    assert [int(train.sample(number)[0][0]) for number in (2, 0, 33, 31)] == [102, 100, 133, 131]
    os.close(holder)
    other = settings_of("pipe", tmp_path, source=[{"path": "pipe"}, {"path": "b.jsonl"}])
    write(tmp_path / "b.jsonl", rows_of(2))
    with pytest.raises(DataError, match="is the only source of a run"):
        open_datasets(other, tokenizer, window=4, base=tmp_path)


def numbers(count: int, begun: list[int]) -> Iterator[Row]:
    begun.append(count)
    for number in range(count):
        yield Row("stream", number + 1, {"text": "x" * number})


def test_a_stream_goes_back_by_beginning_anew_and_a_pipe_cannot() -> None:
    begun: list[int] = []
    rows = ForwardRows("stream", lambda: numbers(50, begun), 8)
    assert [rows.row(at).line for at in (3, 0, 20, 13)] == [4, 1, 21, 14]  # type: ignore[union-attr]  # they are there
    assert len(begun) == 1
    assert rows.row(5) is not None
    assert len(begun) == 2
    assert rows.lengths(np.array([9, 7])).tolist() == [9, 7]
    once = ForwardRows("pipe", lambda: numbers(50, begun), 8, once=True)
    once.row(30)
    with pytest.raises(DataError, match="pipe is a pipe: sample 2 was read and is gone"):
        once.row(2)
    rows.close()
    assert rows.row(0) is not None


def test_the_last_window_of_a_stream_is_filled_with_nothing_and_the_next_one_says_that_it_ended() -> None:
    rows = ForwardRows("stream", lambda: numbers(10, []), 8)
    assert rows.row(9) is not None
    assert rows.row(11) is None
    assert rows.lengths(np.array([11])).tolist() == [0]
    with pytest.raises(DataError, match=r"stream ended after 10 samples; set train.steps to what it has"):
        rows.row(14)


def test_windows_of_a_stream_are_permuted_each_in_itself() -> None:
    order = WindowedOrder(0, 10)
    found = order.ids(np.arange(40))
    for window in range(4):
        assert sorted(found[window * 10 : window * 10 + 10].tolist()) == list(range(window * 10, window * 10 + 10))
    assert found.tolist() != list(range(40))
    assert (found[:10] + 10).tolist() != found[10:20].tolist()
    assert WindowedOrder(0, 10, shuffle=False).ids(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    plan = BatchPlan(order, np.arange(1000), 5, 2)
    assert sorted([*plan.samples(Cursor(0), 5), *plan.samples(Cursor(5), 5)]) == list(range(10))


def test_a_data_set_of_the_hub_is_streamed_and_never_ends(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, asked = ModuleType("datasets"), list[dict[str, Any]]()

    def load(*words: Any, **options: Any) -> list[dict[str, Any]]:
        asked.append(options)
        return rows_of(SIZE)

    library.__dict__["load_dataset"] = load
    monkeypatch.setitem(sys.modules, "datasets", library)
    opened = open_datasets(settings_of("hf:org/name", tmp_path), tokenizer, window=4, base=tmp_path)
    assert str(opened.report).startswith("endless streamed and 0 held-out samples")
    assert [int(opened.train.sample(number)[0][0]) for number in (1, 0)] == [101, 100]
    assert asked == [{"split": "train", "streaming": True}]
    opened.train.close()  # type: ignore[attr-defined]  # only what is streamed has files


def test_case_36_rank_1_of_2_sees_every_other_line_of_a_stream_in_its_order(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"input_ids": [100 + number, *range(1, 2 + number)]} for number in range(8)]
    train = opened(tmp_path, rows, tokenizer)[0].train
    plan = BatchPlan(SampleOrder(0, 8, shuffle=False), train.lengths, 2, 1)
    seen = []
    for step in range(4):
        order = StepOrder(Generation(1), Step(step + 1), Cursor(2 * step), 2, (Rank(0), Rank(1)), (Rank(0), Rank(1)))
        batch = make_batch(train, plan, SHAPING, order, Rank(1))
        seen.append(int(batch.micros[0].tokens_BT[0, 0]))
    assert seen == [101, 103, 105, 107]


def test_lines_are_added_to_the_quarantine_one_by_one(tmp_path: Path) -> None:
    for line in (1, 2):
        add_to_quarantine(tmp_path / "data" / "quarantine.jsonl", Quarantined("a", line, "bad"))
    assert len((tmp_path / "data" / "quarantine.jsonl").read_text().splitlines()) == 2
    with pytest.raises(DataError, match="cannot be written"):
        add_to_quarantine(tmp_path / "data" / "quarantine.jsonl" / "x", Quarantined("a", 1, "bad"))
