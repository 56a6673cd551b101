from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.checkpoint import draft as drafts
from runtime.checkpoint import layout
from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.manifest import read_manifest
from runtime.checkpoint.reader import Rejected, load, newest_good, verify
from runtime.errors import CheckpointError
from runtime.flow import Snapshot
from runtime.ids import Cursor, Step
from tests.unit.checkpoint.worlds import PROVENANCE, save, snapshot


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def refuse(rejected: Rejected) -> None:
    pytest.fail(f"{rejected.path}: {rejected.reason}")


def test_a_checkpoint_is_a_folder_of_two_files_and_a_manifest(tmp_path: Path) -> None:
    (manifest,) = save(tmp_path, 120, metrics={"eval/loss": 1.5})
    assert names(tmp_path) == {"step-00000120", "LATEST"}
    folder = tmp_path / "step-00000120"
    assert names(folder) == {"manifest.json", "parameters.safetensors", "optimizer.safetensors"}
    assert read_manifest(folder) == verify(folder) == manifest
    assert manifest.step == 120
    assert manifest.cursor == 3840
    assert manifest.metrics == {"eval/loss": 1.5}
    assert manifest.provenance == PROVENANCE
    assert layout.read_latest(tmp_path) == 120


def test_what_is_loaded_is_what_was_saved_bit_for_bit(tmp_path: Path) -> None:
    saved = snapshot(7)
    save(tmp_path, 7)
    loaded = load(tmp_path / "step-00000007")
    assert (loaded.step, loaded.cursor) == (saved.step, saved.cursor)
    assert loaded.counters == saved.counters
    assert [type(value) for value in loaded.counters.values()] == [int, int, float]
    assert parameter_hash(loaded.parameters) == parameter_hash(saved.parameters)
    assert parameter_hash(loaded.optimizer) == parameter_hash(saved.optimizer)


def test_the_manifest_states_the_hash_of_the_parameters(tmp_path: Path) -> None:
    (manifest,) = save(tmp_path, 7)
    assert manifest.parameter_hash == parameter_hash(snapshot(7).parameters)


def test_without_an_optimizer_there_is_no_file_of_it(tmp_path: Path) -> None:
    bare = Snapshot(Step(1), Cursor(0), {"w": np.zeros(3, np.float32)}, {})
    drafts.write_checkpoint(bare, tmp_path, PROVENANCE)
    assert names(tmp_path / "step-00000001") == {"manifest.json", "parameters.safetensors"}
    assert load(tmp_path / "step-00000001").optimizer == {}


def test_numbers_that_json_cannot_say_survive(tmp_path: Path) -> None:
    odd = Snapshot(Step(1), Cursor(0), {"w": np.zeros(3, np.float32)}, {}, {"scale": float("inf"), "tiny": 5e-324})
    manifest = drafts.write_checkpoint(odd, tmp_path, PROVENANCE, metrics={"eval/loss": float("nan")})
    json.loads((tmp_path / "step-00000001" / "manifest.json").read_text(), parse_constant=pytest.fail)
    again = verify(tmp_path / "step-00000001")
    assert again.counters == {"scale": float("inf"), "tiny": 5e-324}
    assert str(again.metrics["eval/loss"]) == "nan"
    assert again.render() == manifest.render()


def test_a_second_checkpoint_of_a_step_replaces_the_first(tmp_path: Path) -> None:
    save(tmp_path, 5)
    wider = drafts.write_checkpoint(snapshot(5, width=9), tmp_path, PROVENANCE)
    assert names(tmp_path) == {"step-00000005", "LATEST"}
    assert verify(tmp_path / "step-00000005") == wider


def test_if_the_replacement_cannot_be_renamed_the_first_is_back_at_once(tmp_path: Path) -> None:
    (first,) = save(tmp_path, 5)
    with pytest.raises(FileNotFoundError):
        layout.move_in(tmp_path / "step-00000005.gone.tmp", Step(5))
    assert verify(tmp_path / "step-00000005") == first


def test_leftovers_of_a_crash_are_swept_away_by_the_next_writer(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000003.1a2b3c4d.tmp").mkdir()
    (tmp_path / "step-00000003.1a2b3c4d.tmp" / "parameters.safetensors").write_bytes(b"half")
    (tmp_path / "step-00000001").rename(tmp_path / "step-00000001.removed")
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000002.replaced")
    (tmp_path / "notes.txt").write_text("mine")
    save(tmp_path, 4)
    assert names(tmp_path) == {"step-00000002", "step-00000004", "LATEST", "notes.txt"}


def test_a_writer_that_was_declared_dead_cannot_write_into_its_successors_folder(tmp_path: Path) -> None:
    zombie = drafts.begin(tmp_path, Step(5))
    successor = drafts.begin(tmp_path, Step(5))
    with pytest.raises(FileNotFoundError):
        drafts.write_shard(zombie, "parameters.safetensors", "parameters", snapshot(5).parameters)
    assert names(successor) == set()


def test_a_pinned_checkpoint_carries_its_mark(tmp_path: Path) -> None:
    save(tmp_path, 5, pinned=True)
    assert (tmp_path / "step-00000005" / layout.PINNED_NAME).exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file stands where the folder should be")
    with pytest.raises(CheckpointError, match=r"cannot save step 5 in .*checkpoints: File exists") as caught:
        save(tmp_path / "checkpoints", 5)
    assert "\n" not in str(caught.value)


def test_an_array_that_cannot_be_saved_leaves_no_draft(tmp_path: Path) -> None:
    odd = Snapshot(Step(1), Cursor(0), {"w": np.zeros(3, np.complex64)}, {})
    with pytest.raises(TypeError, match="complex64"):
        drafts.write_checkpoint(odd, tmp_path, PROVENANCE)
    assert names(tmp_path) == set()


def test_shards_of_several_workers_make_one_checkpoint(tmp_path: Path) -> None:
    """Parameters spread over two files, an optimizer vector cut into slices: the same state as from one writer."""
    whole = snapshot(9)
    folder = drafts.begin(tmp_path, Step(9), attempt="g3")
    weight, bias = "model.layers.0.weight", "model.layers.0.bias"
    m, v = (whole.optimizer[f"{kind}.{weight}"].reshape(-1) for kind in "mv")
    shape = whole.parameters[weight].shape
    entries = [
        drafts.write_shard(folder, "parameters-0.safetensors", "parameters", {weight: whole.parameters[weight]}),
        drafts.write_shard(folder, "parameters-1.safetensors", "parameters", {bias: whole.parameters[bias]}),
    ]
    for rank, (start, stop) in enumerate([(5, 12), (0, 5)]):
        entries.append(
            drafts.write_shard(
                folder,
                f"optimizer-{rank}.safetensors",
                "optimizer",
                {f"m.{weight}": m[start:stop], f"v.{weight}": v[start:stop]},
                pieces={f"m.{weight}": (shape, start), f"v.{weight}": (shape, start)},
            )
        )
    (single,) = save(tmp_path / "single", 9)
    drafts.finish(
        folder,
        drafts.of_files(
            tuple(entries),
            step=whole.step,
            cursor=whole.cursor,
            counters=whole.counters,
            metrics={},
            provenance=PROVENANCE,
            created_at=0.0,
        ),
    )
    good = newest_good(tmp_path, on_rejected=refuse)
    assert good is not None
    assert (good.manifest.parameter_hash, good.manifest.model_hash) == (single.parameter_hash, single.model_hash)
    assert good.manifest.shapes("optimizer") == single.shapes("optimizer")
    loaded = load(good.folder)
    assert parameter_hash(loaded.parameters) == parameter_hash(whole.parameters)
    assert parameter_hash(loaded.optimizer) == parameter_hash(whole.optimizer)


def test_writers_of_one_attempt_share_a_folder_and_sweep_only_what_is_older(tmp_path: Path) -> None:
    for name in ("step-00000004.2-9.tmp", "step-00000004.tmp", "step-00000004.c0ffee.tmp", "step-00000005.3-2.tmp"):
        (tmp_path / name).mkdir()
    draft = drafts.begin(tmp_path, Step(5), attempt="3-1")
    assert drafts.begin(tmp_path, Step(5), attempt="3-1") == draft
    assert names(tmp_path) == {"step-00000005.3-1.tmp", "step-00000005.3-2.tmp"}
    drafts.begin(tmp_path, Step(6), attempt="10-1")
    assert names(tmp_path) == {"step-00000006.10-1.tmp"}


def test_a_share_that_does_not_fit_takes_the_whole_attempt_with_it(tmp_path: Path) -> None:
    begun = drafts.begin(tmp_path, Step(5), attempt="3-1")
    (begun / "parameters-1.safetensors").mkdir()  # in the way
    with pytest.raises(CheckpointError, match="cannot save step 5 in "):
        drafts.write_share(snapshot(5), tmp_path, "3-1", 1)
    assert names(tmp_path) == set()


def test_a_share_that_changed_before_the_seal_is_noticed(tmp_path: Path) -> None:
    files = drafts.write_share(snapshot(5), tmp_path, "3-1", 0)
    about = drafts.Inscription(Step(5), Cursor(0), {}, {}, PROVENANCE)
    cut = tmp_path / "step-00000005.3-1.tmp" / "optimizer-0.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"optimizer-0\.safetensors was changed by somebody else"):
        drafts.seal(tmp_path, "3-1", about, files)
    assert names(tmp_path) == set()


def test_an_attempt_that_was_swept_away_cannot_be_sealed(tmp_path: Path) -> None:
    files = drafts.write_share(snapshot(5), tmp_path, "3-1", 0)
    drafts.begin(tmp_path, Step(6), attempt="3-2")
    with pytest.raises(CheckpointError, match="No such file or directory"):
        drafts.seal(tmp_path, "3-1", drafts.Inscription(Step(5), Cursor(0), {}, {}, PROVENANCE), files)


def test_the_owner_of_a_folder_sweeps_what_an_earlier_run_left_whatever_its_number(tmp_path: Path) -> None:
    save(tmp_path, 5)
    drafts.write_share(snapshot(6), tmp_path, "99-1", 0)
    assert newest_good(tmp_path, on_rejected=refuse) is not None
    assert names(tmp_path) == {"LATEST", "step-00000005"}
