"""Runs from beginning to end, and what they leave on disk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.events import (
    CheckpointWritten,
    EvaluationFinished,
    RunFinished,
    RunState,
    SampleGenerated,
    StepCommitted,
    fold_all,
)
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
SETTINGS = {
    "run": {"seed": 7, "deterministic": True},
    "data": {"eval": {"eval_fraction": 0.1}},
    "eval": {"generate": {"samples": 2, "max_tokens": 8}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunProcess]:
    """Two workers, twelve steps, done."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_tiny_config(folder, steps=12, extra=SETTINGS)
    with RunProcess(config, folder) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        yield run


def hash_of_last_checkpoint(run: RunProcess) -> str:
    """Parameter hash of the newest checkpoint that the journal knows."""
    return run.events(CheckpointWritten)[-1].parameter_hash


def test_two_workers_commit_every_step_once_and_learn(finished: RunProcess) -> None:
    steps = finished.events(StepCommitted)
    assert [step.step for step in steps] == list(range(1, 13))
    assert steps[-1].loss < steps[0].loss
    assert all(set(step.owners) == {0, 1} for step in steps)


def test_the_ledger_proves_that_every_sample_was_taken_once_in_its_epoch(finished: RunProcess) -> None:
    command = [finished.command[0], "audit", str(finished.run_folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GUARD_SECONDS)
    assert said.returncode == 0, said.stdout
    assert "proven: every sample was trained on exactly once in its epoch, over 12 steps" in said.stdout


def test_the_held_out_loss_is_measured_before_and_after_and_falls(finished: RunProcess) -> None:
    first, last = finished.events(EvaluationFinished)
    assert (first.step, last.step) == (0, 12)
    assert last.loss < first.loss


def test_the_journal_alone_redraws_the_run(finished: RunProcess) -> None:
    finished.journal.fresh()
    state: RunState = fold_all(finished.journal.seen)
    assert state.status == "done"
    assert state.training.step == 12


def test_the_summary_names_loss_checkpoints_and_answers(finished: RunProcess) -> None:
    text = finished.tail(60)
    assert "done at step 12" in text
    assert "held-out loss" in text
    assert "step-00000012" in text


def test_plain_progress_has_no_control_characters(finished: RunProcess) -> None:
    printed = finished.output.read_text()
    assert not [character for character in printed if ord(character) < 32 and character not in "\n\t"]


def test_every_checkpoint_verifies(finished: RunProcess) -> None:
    command = [finished.command[0], "checkpoints", "verify", str(finished.run_folder), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GUARD_SECONDS)
    assert hash_of_last_checkpoint(finished) in said.stdout
    json.loads(said.stdout)


def test_an_exported_checkpoint_answers_in_mlx_lm_as_it_did_in_the_run(finished: RunProcess, tmp_path: Path) -> None:
    target = tmp_path / "exported"
    export = [finished.command[0], "checkpoints", "export", str(finished.run_folder), str(target)]
    subprocess.run(export, check=True, capture_output=True, timeout=GUARD_SECONDS)
    from mlx_lm import generate, load

    model, tokenizer = load(str(target))
    sample = finished.events(SampleGenerated)[-1]
    messages = [{"role": "user", "content": sample.prompt}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert generate(model, tokenizer, prompt, max_tokens=8) == sample.answer


def test_the_same_command_after_a_finished_run_begins_the_next_one(finished: RunProcess) -> None:
    config = finished.folder / "tiny.toml"
    arguments = ("--set", "train.steps=2", "--set", "eval.generate.samples=1")
    with RunProcess(config, finished.folder, arguments=arguments) as again:
        assert again.finish(within_seconds=GUARD_SECONDS) == 0, again.tail()
        assert "tested-2" in again.tail()
    assert (finished.folder / "runs" / "tested-2" / "checkpoints").is_dir()


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_any_number_of_workers_gives_the_same_bits(finished: RunProcess, tmp_path: Path, workers: int) -> None:
    config = write_tiny_config(tmp_path, steps=12, extra=SETTINGS)
    with RunProcess(config, tmp_path, arguments=("--workers", str(workers))) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert hash_of_last_checkpoint(run) == hash_of_last_checkpoint(finished)
        assert [step.loss for step in run.events(StepCommitted)] == [
            step.loss for step in finished.events(StepCommitted)
        ]
        assert run.events(RunFinished)[-1].outcome == "done"
