"""Which folder `mlx-serve` serves: told from what lies in it, and never a broken checkpoint."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from console.cli import serve
from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import Provenance
from runtime.errors import CheckpointError, RunError, UsageError
from runtime.flow import Snapshot
from runtime.ids import Cursor, Generation, Rank, Step
from tests.unit.checkpoint.adapters import PROMPT, Trained

PROVENANCE = Provenance("tested", "llama", "c0ffee", "adamw", Generation(1), (Rank(0),))


def a_run(folder: Path, *steps: int) -> Path:
    """A run's folder with a described model and checkpoints of these steps."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "checkpoints").mkdir()
    for step in steps:
        weights = {"weight": np.full(4, step, np.float32)}
        write_checkpoint(Snapshot(Step(step), Cursor(step), weights, {}), folder / "checkpoints", PROVENANCE)
    return folder


def damage(checkpoint: Path) -> None:
    (weights,) = checkpoint.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])


def test_the_newest_checkpoint_is_exported_and_goes_away_with_the_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run", 3, 7)
    with serve.model_folder(run, None) as folder:
        assert {"config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    assert not folder.exists()
    assert capsys.readouterr().err == f"serving {run / 'checkpoints' / 'step-00000007'}\n"


def test_a_broken_checkpoint_is_passed_over_and_left_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run", 3, 7)
    damage(run / "checkpoints" / "step-00000007")
    with serve.model_folder(run, None):
        first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("step-00000007 is passed over: ")
    assert second.endswith("step-00000003")
    assert (run / "checkpoints" / "step-00000007").is_dir()


def test_the_step_that_was_asked_for_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve.model_folder(a_run(tmp_path / "run", 3, 7), 3):
        assert capsys.readouterr().err.endswith("step-00000003\n")


@pytest.mark.parametrize(("step", "sentence"), [(None, "no checkpoint is whole"), (9, "no whole checkpoint of step 9")])
def test_a_run_without_the_wanted_checkpoint_is_refused(step: int | None, sentence: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    with pytest.raises(CheckpointError, match=sentence), serve.model_folder(run, step):
        pass


def test_an_adapter_is_served_as_a_plain_model_that_says_the_same(tmp_path: Path) -> None:
    from mlx_lm import generate, load

    trained = Trained(tmp_path, "lora", 4)
    adapter = trained.settings.adapter
    assert adapter.layers is not None
    (tmp_path / "config.toml").write_text(
        f'[model]\npath = "{trained.base}"\n[model.adapter]\n'
        f'type = "lora"\nrank = {adapter.rank}\nscale = {adapter.scale}\nlayers = {adapter.layers}\n'
    )
    with serve.model_folder(tmp_path, None) as folder:
        assert "quantization" not in json.loads((folder / "config.json").read_text())
        model, tokenizer = load(str(folder))[:2]
        assert generate(model, tokenizer, PROMPT, max_tokens=12) == trained.says()


def test_a_model_folder_is_served_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with serve.model_folder(tmp_path, None) as folder:
        assert folder == tmp_path.resolve()


def test_a_model_folder_has_no_steps(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="is a model folder and has no steps"), serve.model_folder(tmp_path, 3):
        pass


def test_any_other_folder_is_refused_with_what_would_do(tmp_path: Path) -> None:
    sentence = r"neither a run's folder \(with checkpoints/\) nor a model folder \(with config.json\)"
    with pytest.raises(UsageError, match=sentence), serve.model_folder(tmp_path / "absent", None):
        pass


def test_a_port_in_use_is_one_sentence_before_anything_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve.claim_address("127.0.0.1", port)
        assert serve.main([str(a_run(tmp_path / "run", 3)), "--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")


def test_the_runs_own_configuration_says_where_to_listen(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[serve]\nport = 9999\n")
    assert serve.settings_for(tmp_path).port == 9999
    assert serve.settings_for(tmp_path / "elsewhere").port == 8080


def test_a_child_that_ends_gives_its_status() -> None:
    assert serve.run_tethered([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def test_a_key_that_is_not_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLXD_TEST_KEY", raising=False)
    with pytest.raises(UsageError, match="the environment variable MLXD_TEST_KEY is empty"):
        serve.check_key("MLXD_TEST_KEY", "127.0.0.1")


def test_strangers_who_may_ask_without_a_key_are_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    serve.check_key("", "localhost")
    assert capsys.readouterr().err == ""
    serve.check_key("", "0.0.0.0")
    assert capsys.readouterr().err.startswith("whoever reaches 0.0.0.0 may ask: set serve.api_key_env")


def test_an_address_of_the_newer_kind_is_one_too() -> None:
    serve.claim_address("::1", 0)
    with pytest.raises(UsageError, match="--port 70000: ports go from 0"):
        serve.claim_address("127.0.0.1", 70000)
