"""Bad input and bad luck: one clear sentence, the right exit code, and nothing that was saved is lost."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from runtime.events import CheckpointWritten, StepCommitted
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0


def outcome_of(folder: Path, *arguments: str, extra: dict[str, Any] | None = None, steps: int = 6) -> tuple[int, str]:
    """Exit code and output of a tiny run with these settings."""
    config = write_tiny_config(folder, steps=steps, extra=extra)
    with RunProcess(config, folder, arguments=arguments) as run:
        return run.finish(within_seconds=GUARD_SECONDS), run.output.read_text()


def test_a_broken_configuration_starts_nothing(tmp_path: Path) -> None:
    code, text = outcome_of(tmp_path, "--set", "optim.learning_rat=1")
    assert code == 2
    assert "optim.learning_rat" in text
    assert "did you mean optim.lr?" in text
    assert not (tmp_path / "runs").exists()


def test_missing_data_is_one_sentence(tmp_path: Path) -> None:
    absent = {"data": {"source": [{"path": "nowhere.jsonl"}]}}
    code, text = outcome_of(tmp_path, "--progress", "json", extra=absent)
    assert code == 1
    assert [json.loads(line)["seq"] for line in text.splitlines() if line.startswith("{")][:2] == [1, 2]
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "nowhere.jsonl does not exist" in errors[0]
    assert "Traceback" not in text


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = outcome_of(tmp_path, "--workers", "1", extra={"cluster": {"listen": f"127.0.0.1:{port}"}})
    assert code == 1
    assert f"127.0.0.1:{port}" in text
    assert "error: " in text
    assert "Traceback" not in text


def test_a_worker_that_cannot_start_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    code, text = outcome_of(tmp_path, extra={"cluster": {"env": {"PYTHONHOME": "/nonexistent"}}})
    assert code == 3
    assert "--- last output ---" in text
    assert "encodings" in text  # what the interpreter itself says when its library is not there


def test_a_checkpoint_of_another_model_is_refused_and_kept(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, steps=6)
    with RunProcess(config, tmp_path, arguments=("--workers", "1", "--set", "train.steps=60")) as run:
        run.wait_for(CheckpointWritten, within_seconds=GUARD_SECONDS)
    saved = sorted(path.name for path in (run.run_folder / "checkpoints").glob("step-*[0-9]"))
    other = {"model": {"scratch": {"hidden_size": 16, "num_attention_heads": 2}}}
    code, text = outcome_of(tmp_path, "--workers", "1", extra=other)
    assert code == 1
    assert "another model" in text
    assert saved == sorted(path.name for path in (run.run_folder / "checkpoints").glob("step-*[0-9]"))


def test_a_folder_in_use_names_its_owner(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, steps=400)
    with RunProcess(config, tmp_path, arguments=("--workers", "1")) as first:
        first.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        with RunProcess(config, tmp_path) as second:
            assert second.finish(within_seconds=GUARD_SECONDS) == 1
            assert str(first.pid) in second.tail()
