"""A configuration that is edited: what it amounts to, what is wrong, and that saving changes nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from console.state import form as state
from console.state.form import Form, edited, opened, reset, retyped, undone
from console.state.form_fields import about_table, field_of
from console.state.form_rows import (
    Planned,
    about_field,
    difference_lines,
    form_rows,
    needed_bytes,
    verdict_lines,
)
from console.state.form_save import NotSaved, edited_text, save
from console.state.spans import Line, text_of
from runtime.config.load import load_config
from runtime.errors import ConfigError
from tests.support.repository import ROOT

TEXT = """\
# a test
schema = 1

[train]
steps = 10          # short
global_batch_size = 8
micro_batch_size = 4

[optim]
lr = 3e-3           # found by hand
name = "adamw"
[[data.source]]
path = "train.jsonl"
"""
FORM = opened(Path("small.toml"), TEXT)


def texts(lines: list[Line]) -> str:
    return "\n".join(map(text_of, lines))


def test_an_edit_is_judged_like_an_override_of_the_command_line() -> None:
    form = edited(edited(FORM, "optim.lr", "20"), "train.micro_batch_size", "16")
    verdict = form.verdict
    assert verdict.wrong == {"optim.lr": "must be a number > 0 and <= 10, got 20"} | {
        name: said for name, said in verdict.wrong.items() if name.startswith("train")
    }
    assert "larger than train.global_batch_size" in verdict.wrong["train.micro_batch_size"]
    assert (verdict.values["optim.lr"], verdict.origins["optim.eps"], verdict.problems) == ("20", "default", 2)
    assert (verdict.origins["train.micro_batch_size"], verdict.origins["train.steps"]) == ("edited", "line 5")


def test_the_value_that_the_file_has_anyway_is_no_edit() -> None:
    assert edited(FORM, "optim.lr", "0.003") is FORM
    assert edited(edited(FORM, "optim.lr", "1e-3"), "optim.lr", "3e-3").edits == ()
    assert edited(FORM, "train.steps", "10.0").is_modified
    assert edited(FORM, "optim.name", "no toml").is_modified


def test_every_change_can_be_taken_back() -> None:
    changed = edited(edited(FORM, "optim.lr", "1e-3"), "optim.lr", "2e-3")
    assert [undone(changed).edits, undone(undone(changed)).edits] == [(("optim.lr", "1e-3"),), ()]
    assert undone(FORM) is FORM


def test_a_key_that_is_left_out_has_its_default_also_for_the_plan() -> None:
    form = reset(reset(FORM, "train.global_batch_size"), "nothing.here[3].at_all")
    assert form.verdict.values["train.global_batch_size"] == "32"
    assert state.overrides_of(form)[0] == "train.global_batch_size=32"
    assert "global_batch_size" not in edited_text(reset(FORM, "train.global_batch_size"))
    assert reset(FORM, "optim.eps") is FORM


def test_unknown_keys_and_impossible_edits_are_told_beside_the_fields() -> None:
    form = edited(opened(Path("x.toml"), TEXT + "wight = 3\n"), "data.source[7].path", '"x"')
    assert any("wight" in said and "unknown key" in said for said in form.verdict.loose)
    assert any("data.source[7]" in said for said in form.verdict.loose)


def test_saving_keeps_comments_order_and_spelling(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    form = edited(opened(path, TEXT), "optim.lr", "2e-4")
    form = edited(edited(form, "supervision.intensity", "4"), "data.source[0].path", '"other.jsonl"')
    text = save(form)
    expected = TEXT.replace("lr = 3e-3 ", "lr = 2e-4 ").replace('"train.jsonl"', '"other.jsonl"')
    assert text.startswith(expected)
    assert (path.read_text(), list(tmp_path.iterdir())) == (text, [path])
    assert load_config(path).supervision.intensity == 4
    assert not state.saved(form, text).is_modified


def test_a_first_source_can_be_written_where_the_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text("[train]\nsteps = 3\n")
    save(edited(opened(path, path.read_text()), "data.source[0].path", '"mine.jsonl"'))
    assert load_config(path).data.sources[0].path == "mine.jsonl"


def test_a_file_that_somebody_else_changed_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    form = edited(opened(path, TEXT), "optim.lr", "2e-4")
    path.write_text(TEXT + "\n# mine\n")
    with pytest.raises(NotSaved, match="changed by somebody else"):
        save(form)
    assert path.read_text().endswith("# mine\n")
    path.unlink()
    with pytest.raises(NotSaved, match="cannot be written"):
        save(form)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(NotSaved, match="cannot be written"):
        save(form)


def test_an_edit_that_does_not_fit_is_refused() -> None:
    for name, value in (("train.steps.deeper", "1"), ("a..b", "1")):
        with pytest.raises(NotSaved):
            edited_text(edited(FORM, name, value))


@settings(max_examples=20, deadline=None)
@given(some.dictionaries(some.sampled_from(["optim.lr", "optim.eps", "optim.weight_decay"]), some.floats(1e-9, 9)))
def test_what_is_saved_means_what_the_form_shows(values: dict[str, float]) -> None:
    form = FORM
    for name, value in values.items():
        form = edited(form, name, repr(value))
    assert tomllib.loads(edited_text(form)) == state.raw_of(form)


def test_a_text_that_was_typed_is_a_change_and_a_broken_one_is_refused() -> None:
    typed = retyped(FORM, TEXT.replace("10", "20"))
    assert (typed.is_modified, typed.verdict.values["train.steps"], typed.digest) == (True, "20", FORM.digest)
    assert edited_text(typed) == typed.text
    with pytest.raises(ConfigError, match=r"small\.toml:1"):
        retyped(FORM, "steps = \n")


def test_words_need_no_quotes_where_text_belongs() -> None:
    assert state.spelled("data/x.jsonl", is_text=True) == '"data/x.jsonl"'
    assert (state.spelled("2024", is_text=True), state.spelled("2024", is_text=False)) == ('"2024"', "2024")
    assert (state.spelled('"a"', is_text=True), state.spelled("fast", is_text=False)) == ('"a"', '"fast"')
    assert (state.plain('"a b"'), state.plain("3")) == ("a b", "3")


def test_fields_come_from_the_schema() -> None:
    names = ("optim.lr", "optim.name", "train.compile", "run.name", "optim.loss_scale")
    assert [field_of(name).kind for name in names] == ["value", "choice", "switch", "text", "value"]
    assert field_of("model.quantize_bits").choices == ("0", "4", "8")
    assert field_of("optim.lr").help.startswith("highest learning rate")
    assert field_of("model.scratch.rope_theta").expected == "anything"
    assert field_of("cluster.env.X").expected == "text"
    assert (about_table("optim"), about_table("no")) == ("The optimizer and its learning rate.", "")
    assert about_table("").startswith("Everything that a run can be told.")


def test_every_configuration_of_the_repository_is_a_form_without_a_problem() -> None:
    for path in sorted((ROOT / "configs").glob("*.toml")):
        form = opened(path, path.read_text())
        allowed = path.stem == "two-macs"  # it asks for what this version refuses
        assert form.verdict.problems == 0 or allowed, form.verdict
        assert edited_text(form) == path.read_text()


def test_the_form_lists_tables_with_what_is_set_wrong_or_changed() -> None:
    form = edited(edited(FORM, "optim.lr", "20"), "optim.eps", "1e-6")
    rows = form_rows(form, "", 60)
    assert "optim.lr" in {key for _, key in rows}
    whole = texts([parts for parts, _ in rows])
    assert "[optim]  The optimizer" in whole
    assert "✗ lr                  20" in whole
    assert "* eps" in whole
    assert "schema" not in whole
    few = [key for _, key in form_rows(form, "warmup", 60) if key]
    assert few == ["optim.lr", "optim.warmup_steps", "optim.warmup_ratio"]  # a broken key is never hidden
    assert {"train.steps", "optim.eps"} < {key for _, key in form_rows(form, "", 60, only_set=True)}
    assert form_rows(FORM, "xyzzy", 60)[0][1] == ""
    assert all(not key.startswith("train") for _, key in form_rows(FORM, "!train.", 60))


def test_the_chosen_key_is_explained() -> None:
    form = edited(FORM, "optim.lr", "20")
    said = texts(about_field("optim.lr", form.verdict, 60))
    for part in ("edited", "default 0.0001", "highest learning rate", "must be a number > 0 and <= 10", "✗"):
        assert part in said
    assert "arrows choose" in texts(about_field("", form.verdict, 60))
    assert "default" in texts(about_field("optim.eps", form.verdict, 60))


def plan(peak_bytes: int = 50_000_000, stages: int = 1) -> dict[str, object]:
    held = {"parameters_bytes": 1, "gradients_bytes": 2, "optimizer_bytes": 3, "exchange_bytes": 4, "host_bytes": 5}
    device = {"stage": 0, "held": held, "activations_bytes": 6, "peak_bytes": peak_bytes}
    return {
        "architecture": "llama", "parameters": 1000, "trained": 10, "workers": 2 * stages, "replicas": 2, "rows": 4,
        "micro_batches": 2, "positions": 96, "devices": [device | {"stage": stage} for stage in range(stages)],
    }  # fmt: skip


def test_the_plan_says_whether_it_fits_and_what_to_do() -> None:
    fits = texts(verdict_lines(FORM.verdict, Planned(plan(), memory_bytes=10**9, seconds=1.0), 46))
    assert "✓ fits: 100.0 MB of 1.0 GB here" in fits
    assert "10 of them trained" in fits
    much = texts(verdict_lines(FORM.verdict, Planned(plan(10**9), memory_bytes=10**9), 46))
    assert "✗ too much: 2.0 GB of 1.0 GB here" in much
    assert "fix: a smaller train.micro_batch_size" in much
    stages = texts(verdict_lines(FORM.verdict, Planned(plan(stages=2) | {"trained": 1000}), 60))
    assert "stage 1" in stages
    assert "fits" not in stages
    assert needed_bytes(plan(10, 2)) == 2 * 2 * (10 + 5)


def test_problems_stand_before_the_plan_and_a_refusal_in_place_of_it() -> None:
    broken = edited(FORM, "optim.lr", "20").verdict
    said = texts(verdict_lines(broken, Planned(plan(), file_problems=("data: gone",)), 46))
    assert "✗ 2 problems" in said
    assert "data: gone" in said
    assert "memory" not in said
    assert "being made" in texts(verdict_lines(FORM.verdict, Planned(is_running=True), 46))
    assert "no plan: no model" in texts(verdict_lines(FORM.verdict, Planned(refusal="no model"), 46))


def test_differences_are_told_by_key() -> None:
    form = edited(FORM, "optim.lr", "1e-3")
    said = texts(difference_lines(form.verdict.values, FORM.verdict.values, 60))
    assert said == "* optim.lr  0.003 → 0.001"
    assert texts(difference_lines({"b": "2"}, {"a": "1"}, 60)) == "+ b  2\n- a  1"
    assert texts(difference_lines({"model.scratch.hidden": "2"}, {}, 20)) == "+ …scratch.hidden  2"
    assert texts(difference_lines({}, {}, 60)) == "no difference"


def test_a_run_writes_where_the_form_says() -> None:
    assert state.run_folder(FORM) == Path("runs/small")
    assert state.run_folder(edited(FORM, "run.name", '"x"')) == Path("runs/x")
    assert isinstance(FORM, Form)
