"""From `[data]` to data sets: rules, split, account of everything that is not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.config.data import DataSettings, EvalDataSettings
from runtime.data.dataset import Datasets, load_datasets, write_quarantine
from runtime.errors import DataError
from tests.unit.data.conftest import TokenizerMaker


def pair(number: int, output: str = "ok") -> dict[str, str]:
    return {"instruction": f"question {number}", "output": output}


def write(path: Path, *records: Any) -> None:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))


def load(
    folder: Path, tokenizer: Any, *, held_out: EvalDataSettings | None = None, seed: int = 0, **keys: Any
) -> Datasets:
    tables = {"source": [{"path": "train.jsonl"}], "eval": held_out or EvalDataSettings(), **keys}
    data = DataSettings.model_validate(tables)
    return load_datasets(data, tokenizer, base=folder, seed=seed)


def test_pairs_become_samples_with_only_the_answer_learnt(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1, "yes"))
    train = load(tmp_path, tokenizer).train
    ids, mask = train.sample(0)
    assert (
        tokenizer.decode(ids.tolist()) == "<|im_start|>user\nquestion 1<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>"
    )
    assert tokenizer.decode(ids[mask == 1].tolist()) == "yes<|im_end|>"


def test_the_system_message_stands_in_front(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1))
    found = load(tmp_path, tokenizer, system="Be brief.", held_out=EvalDataSettings(path="train.jsonl"))
    assert "system\nBe brief." in tokenizer.decode(found.train.sample(0)[0].tolist())
    assert found.prompts[0].messages[0] == {"role": "system", "content": "Be brief."}


def test_a_held_out_file_gives_prompts_that_match_its_samples(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", *(pair(number) for number in range(5)))
    write(tmp_path / "held.jsonl", pair(3), pair(77, "seven"))
    found = load(tmp_path, tokenizer, held_out=EvalDataSettings(path="held.jsonl"))
    assert (len(found.train), len(found.held_out)) == (5, 2)
    assert [prompt.answer for prompt in found.prompts] == ["ok", "seven"]
    assert found.prompts[1].messages == ({"role": "user", "content": "question 77"},)
    assert found.report.shared_prompts == 1


def test_a_fraction_is_held_out_by_seed_and_never_divides_equal_prompts(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", *(pair(number // 2, str(number)) for number in range(100)))
    first, again, other = (
        load(tmp_path, tokenizer, held_out=EvalDataSettings(eval_fraction=0.1), seed=seed) for seed in (0, 0, 1)
    )
    assert (len(first.train), len(first.held_out)) == (90, 10)
    assert first.prompts == again.prompts != other.prompts
    assert first.report.shared_prompts == 0


def test_a_tiny_fraction_still_holds_one_prompt_out(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), pair(2))
    assert len(load(tmp_path, tokenizer, held_out=EvalDataSettings(eval_fraction=0.01)).held_out) == 1


def test_nothing_is_held_out_without_being_asked(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1))
    found = load(tmp_path, tokenizer)
    assert (len(found.held_out), found.prompts) == (0, ())


def test_longer_samples_are_dropped_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), pair(2, "x" * 100))
    report = load(tmp_path, tokenizer, max_length=60, max_drop_fraction=0.5).report
    assert (report.train_samples, report.dropped, report.truncated) == (1, 1, 0)


def test_too_many_dropped_samples_end_the_run(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), pair(2, "x" * 100))
    with pytest.raises(DataError, match=r"1 of 2 samples are longer than data\.max_length = 60 tokens"):
        load(tmp_path, tokenizer, max_length=60)


def test_a_truncated_sample_does_not_learn_a_stop_that_is_not_there(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), pair(2, "x" * 100))
    found = load(tmp_path, tokenizer, max_length=60, overlength="truncate")
    ids, mask = found.train.sample(1)
    assert (len(ids), found.report.truncated) == (60, 1)
    assert set(tokenizer.decode(ids[mask == 1].tolist())) == {"x"}


def test_a_truncated_prompt_without_its_answer_is_dropped(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), {"instruction": "x" * 200, "output": "y"})
    found = load(tmp_path, tokenizer, max_length=60, overlength="truncate", max_drop_fraction=0.5)
    assert (found.report.dropped, found.report.truncated) == (1, 0)


def test_a_longer_sample_is_an_error_on_demand(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), pair(2, "x" * 100))
    with pytest.raises(DataError, match=r"train\.jsonl:2 has \d+ tokens, more than data\.max_length = 60"):
        load(tmp_path, tokenizer, max_length=60, overlength="error")


def test_bad_lines_are_quarantined_up_to_the_allowed_fraction(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), "{")
    found = load(tmp_path, tokenizer, max_bad_fraction=0.5)
    assert [one.line for one in found.quarantined] == [2]
    with pytest.raises(
        DataError, match=r"1 of 2 records are malformed, more than data\.max_bad_fraction = 0\.4:\n  .*:2 not JSON"
    ):
        load(tmp_path, tokenizer, max_bad_fraction=0.4)


def test_one_bad_line_is_an_error_on_demand(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", *(pair(number) for number in range(500)), "{")
    with pytest.raises(DataError, match=r'1 of 501 records are malformed \(data\.bad_sample = "error"\)'):
        load(tmp_path, tokenizer, bad_sample="error")


def test_bad_lines_of_the_held_out_file_are_quarantined_too(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1))
    write(tmp_path / "held.jsonl", pair(2), "{")
    found = load(tmp_path, tokenizer, held_out=EvalDataSettings(path="held.jsonl"), max_bad_fraction=0.5)
    assert found.report.quarantined == len(found.quarantined) == 1


def test_what_the_template_cannot_mask_is_quarantined_with_the_reason(
    tmp_path: Path, make_tokenizer: TokenizerMaker
) -> None:
    unmaskable = make_tokenizer(
        "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'something else' }}{% endif %}"
    )
    write(tmp_path / "train.jsonl", pair(1))
    with pytest.raises(DataError, match="is not a prefix of its answer"):
        load(tmp_path, unmaskable)


def test_a_template_that_drops_the_answer_learns_nothing_and_says_so(
    tmp_path: Path, make_tokenizer: TokenizerMaker
) -> None:
    silent = make_tokenizer(
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{% endgeneration %}"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    write(tmp_path / "train.jsonl", pair(1))
    with pytest.raises(DataError, match="no token of the first 1 conversations would be learnt"):
        load(tmp_path, silent)


def test_nothing_left_is_an_error(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match="no training sample is left"):
        load(tmp_path, tokenizer)


def test_several_sources_follow_each_other(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "a.jsonl", pair(1))
    write(tmp_path / "b.jsonl", pair(2), pair(3))
    data = DataSettings.model_validate({"source": [{"path": "a.jsonl"}, {"path": "b.jsonl"}]})
    found = load_datasets(data, tokenizer, base=tmp_path)
    assert len(found.train) == 3
    assert "a.jsonl:1" in found.report.format_reason
    assert "b.jsonl:1" in found.report.format_reason


def test_many_samples_are_encoded_in_order(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", *(pair(number, str(number)) for number in range(1200)))
    train = load(tmp_path, tokenizer).train
    assert "question 1111<" in tokenizer.decode(train.sample(1111)[0].tolist())


def test_the_report_reads_as_a_sentence(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1))
    assert str(load(tmp_path, tokenizer).report) == (
        "1 training and 0 held-out samples, 0 quarantined, 0 dropped, 0 truncated; 32 tokens, 3 of them learnt; "
        "longest 32; alpaca: train.jsonl:1 has the columns instruction, output; "
        "mask by generation markers of the chat template"
    )


def test_the_quarantine_is_written_as_lines_and_only_when_there_is_one(tmp_path: Path, tokenizer: Any) -> None:
    write(tmp_path / "train.jsonl", pair(1), "{")
    found = load(tmp_path, tokenizer, max_bad_fraction=0.5)
    target = tmp_path / "run" / "data" / "quarantine.jsonl"
    assert write_quarantine(target, []) == 0
    assert not target.exists()
    assert write_quarantine(target, found.quarantined) == 1
    (line,) = target.read_text().splitlines()
    assert json.loads(line)["line"] == 2
