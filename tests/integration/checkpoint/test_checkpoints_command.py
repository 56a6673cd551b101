"""`mlx-distributed checkpoints ...` as a user types it, on run folders as a run leaves them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli import main
from runtime.app.run_lock import RunLock
from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.manifest import MANIFEST_NAME
from tests.unit.checkpoint.worlds import PROVENANCE, save, snapshot

LOSSES = {1: 0.9, 2: 0.1, 3: float("nan")}
CONFIG = """
[checkpoint]
keep_last = 2
keep_best = 0
[train]
steps = 3
epochs = 0.0
[[data.source]]
path = "train.jsonl"
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with steps 1, 2 and 3; the second is the best, the first is pinned."""
    folder = tmp_path / "runs" / "quickstart"
    for step, loss in LOSSES.items():
        write_checkpoint(
            snapshot(step), folder / "checkpoints", PROVENANCE, metrics={"eval/loss": loss}, pinned=step == 1
        )
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"model_type": "llama"}')
    (folder / "config.toml").write_text(CONFIG)
    (folder / "train.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    return folder


def step_folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:08d}"


def damage(run: Path, step: int) -> None:
    path = step_folder(run, step) / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Types `mlx-distributed checkpoints ...`; gives (exit code, stdout, stderr)."""

    def type_in(*words: object) -> tuple[int, str, str]:
        code = main.main(["checkpoints", *map(str, words)])
        return code, *capsys.readouterr()

    return type_in


def test_list_shows_every_checkpoint_oldest_first(run: Path, command) -> None:
    shutil.rmtree(step_folder(run, 3))
    save(run / "checkpoints", 30)
    (step_folder(run, 2) / MANIFEST_NAME).write_text("{}")
    code, out, err = command("list", run)
    head, first, second, third = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["step", "saved", "size", "metrics", "parameter", "hash"]
    assert first.split()[0] == "1"
    assert "eval/loss=0.9" in first
    assert first.endswith("pinned")
    assert "broken: manifest.json is cut off or damaged" in second
    assert third.split()[0] == "30"


def test_list_as_json(run: Path, command) -> None:
    code, out, _ = command("list", run, "--json")
    found = json.loads(out)
    assert code == 0
    assert [each["step"] for each in found] == [1, 2, 3]
    assert [each["metrics"]["eval/loss"] for each in found] == [0.9, 0.1, "nan"]
    assert [each["pinned"] for each in found] == [True, False, False]
    assert Path(found[0]["path"]) == step_folder(run, 1)


def test_a_run_that_saved_nothing_has_an_empty_list(tmp_path: Path, command) -> None:
    assert command("list", tmp_path) == (0, "", f"{tmp_path} has no checkpoints\n")
    assert command("list", tmp_path, "--json") == (0, "[]\n", "")


@pytest.mark.parametrize("words", [["verify"], ["export", "--best"], ["export"], ["prune"]])
def test_the_others_need_a_checkpoint(words: list[str], tmp_path: Path, command) -> None:
    target = [tmp_path / "out"] if words[0] == "export" else []
    code, out, err = command(words[0], tmp_path, *target, *words[1:])
    assert (code, out) == (1, "")
    assert err == f"error: {tmp_path} has no checkpoints; has the run saved one yet?\n"


def test_a_folder_that_is_not_there_is_a_mistyped_command(tmp_path: Path, command) -> None:
    code, _, err = command("verify", tmp_path / "rnus")
    assert code == 2
    assert "is no folder; RUN is a run's folder" in err


def test_a_file_called_checkpoints_is_one_sentence(tmp_path: Path, command) -> None:
    (tmp_path / "checkpoints").write_text("")
    code, _, err = command("list", tmp_path)
    assert code == 1
    assert err.startswith("error: cannot read")


def test_verify_prints_one_parameter_hash_per_checkpoint(run: Path, command) -> None:
    code, out, err = command("verify", run)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["step", "1", "2", "3"]
    _, as_json, _ = command("verify", run, "--json")
    found = json.loads(as_json)
    assert [(each["step"], each["ok"]) for each in found] == [(1, True), (2, True), (3, True)]
    assert [line.split()[1] for line in out.splitlines()[1:]] == [each["parameter_hash"] for each in found]
    assert len({each["parameter_hash"] for each in found}) == 3


def test_two_runs_of_the_same_bits_have_the_same_hashes(run: Path, tmp_path: Path, command) -> None:
    save(tmp_path / "other" / "checkpoints", 1, 2, 3)
    hashes = [
        [each["parameter_hash"] for each in json.loads(command("verify", folder, "--json")[1])]
        for folder in (run, tmp_path / "other")
    ]
    assert hashes[0] == hashes[1]


def test_verify_names_what_is_broken_and_moves_nothing(run: Path, command) -> None:
    damage(run, 2)
    code, out, _ = command("verify", run)
    assert code == 1
    assert "optimizer.safetensors was changed after it was written" in out
    _, as_json, _ = command("verify", run, "--json")
    assert [each["ok"] for each in json.loads(as_json)] == [True, False, True]
    assert step_folder(run, 2).exists()


def test_verify_notices_a_damaged_latest(run: Path, command) -> None:
    (run / "checkpoints" / "LATEST").write_text("step-00000002\n")
    code, _, err = command("verify", run)
    assert code == 1
    assert "LATEST is damaged; the next start of the run mends it" in err


@pytest.mark.parametrize(
    ("words", "broken", "step", "told"),
    [
        ([], (), 3, ""),
        (["--step", "1"], (), 1, ""),
        (["--best"], (), 2, ""),
        (["--best"], (2,), 1, "passed over"),
        ([], (3,), 2, "passed over"),
    ],
)
def test_export_takes_the_wanted_checkpoint(
    words: list[str], broken: tuple[int, ...], step: int, told: str, run: Path, tmp_path: Path, command
) -> None:
    for each in broken:
        damage(run, each)
    code, out, err = command("export", run, tmp_path / "out", *words)
    assert code == 0
    assert out == f"{tmp_path / 'out'}: model of step {step}, 0.0 MB\n"
    assert told in err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        step_folder(run, step) / "parameters.safetensors"
    ).read_bytes()


def test_export_as_json(run: Path, tmp_path: Path, command) -> None:
    _, out, _ = command("export", run, tmp_path / "out", "--json")
    facts = json.loads(out)
    assert (facts["step"], facts["path"]) == (3, str(tmp_path / "out"))
    assert facts["size_bytes"] == (tmp_path / "out" / "model.safetensors").stat().st_size


def test_export_of_a_step_that_is_not_there_says_what_to_do(run: Path, tmp_path: Path, command) -> None:
    code, _, err = command("export", run, tmp_path / "out", "--step", 7)
    assert code == 1
    assert "no checkpoint of step 7 that could be exported" in err
    assert f"checkpoints list {run}" in err
    damage(run, 1)
    damage(run, 2)
    damage(run, 3)
    code, _, err = command("export", run, tmp_path / "out")
    assert code == 1
    assert err.count("passed over") == 3


def test_without_a_measured_checkpoint_none_is_the_best(run: Path, tmp_path: Path, command) -> None:
    shutil.rmtree(run / "checkpoints")
    save(run / "checkpoints", 1)
    code, _, err = command("export", run, tmp_path / "out", "--best")
    assert code == 1
    assert "was measured by eval/loss" in err


def test_prune_follows_the_rule_of_the_run(run: Path, command) -> None:
    save(run / "checkpoints", 4)
    assert command("prune", run, "--dry-run")[1] == f"{step_folder(run, 2)}: would be deleted\n"
    assert step_folder(run, 2).exists()
    code, out, _ = command("prune", run, "--json")
    assert code == 0
    assert json.loads(out) == {"dry_run": False, "removed": [{"step": 2, "path": str(step_folder(run, 2))}]}
    assert [each["step"] for each in json.loads(command("list", run, "--json")[1])] == [1, 3, 4]


def test_prune_with_another_number(run: Path, command) -> None:
    code, out, _ = command("prune", run, "--keep", 1)
    assert (code, out) == (0, f"{step_folder(run, 2)}: deleted\n")
    code, _, err = command("prune", run, "--keep", 0)
    assert code == 2
    assert "at least the newest one stays" in err


def test_prune_deletes_nothing_while_the_newest_is_broken(run: Path, command) -> None:
    damage(run, 3)
    code, out, err = command("prune", run, "--keep-last", 1)
    assert (code, out) == (1, "")
    assert "nothing was deleted" in err
    assert step_folder(run, 2).exists()


def test_prune_leaves_the_folder_of_a_live_run_alone(run: Path, command) -> None:
    lock = RunLock.take(run, "run-id", "mlx-distributed run quickstart.toml")
    try:
        code, out, err = command("prune", run, "--keep", 1)
        assert command("prune", run, "--keep", 1, "--dry-run")[1] == f"{step_folder(run, 2)}: would be deleted\n"
    finally:
        lock.release()
    assert (code, out) == (1, "")
    assert f"is in use by process {os.getpid()}" in err
    assert "nothing was deleted: a live run deletes old checkpoints itself" in err
    assert step_folder(run, 2).exists()
    assert command("prune", run, "--keep", 1)[0] == 0
    RunLock.take(run, "run-id", "the next run finds it free").release()


def test_prune_says_what_could_not_be_deleted(run: Path, command) -> None:
    (run / "checkpoints" / "step-00000002.removed").write_text("in the way")
    code, _, err = command("prune", run, "--keep-last", 1)
    assert code == 1
    assert "not everything could be deleted" in err


@pytest.mark.slow
def test_a_checkpoint_is_pinned_and_let_go_again(run: Path, command) -> None:
    assert command("pin", run, "--step", 2)[:2] == (0, f"{step_folder(run, 2)}: pinned\n")
    code, _, err = command("delete", run, "--step", 2)
    assert (code, "is pinned" in err, step_folder(run, 2).exists()) == (2, True, True)
    code, out, _ = command("pin", run, "--step", 2, "--off", "--json")
    assert (code, json.loads(out)["done"]) == (0, "no longer pinned")
    assert command("delete", run, "--step", 2)[:2] == (0, f"{step_folder(run, 2)}: deleted\n")
    assert not step_folder(run, 2).exists()


def test_the_newest_checkpoint_and_one_that_is_not_there_are_not_deleted(run: Path, command) -> None:
    code, _, err = command("delete", run, "--step", 3)
    assert (code, "the newest one, from which the run goes on" in err, step_folder(run, 3).exists()) == (2, True, True)
    code, _, err = command("delete", run, "--step", 9)
    assert (code, "has no checkpoint of step 9" in err) == (2, True)


def test_verify_needs_no_mlx(run: Path) -> None:
    program = (
        "import sys; from console.cli.main import main; "
        f"code = main(['checkpoints', 'verify', {str(run)!r}]); "
        "sys.exit(code or 9 * any(name.split('.')[0] in {'mlx', 'mlx_lm', 'textual'} for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
