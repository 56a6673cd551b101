from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.checkpoint import layout, reader
from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.manifest import MANIFEST_NAME, FileEntry
from runtime.checkpoint.reader import Checkpoint, Rejected, check_fits, load, newest_good, verify
from runtime.checkpoint.refusals import BrokenCheckpoint, ForeignCheckpoint
from runtime.errors import CheckpointError
from runtime.ids import Step
from tests.unit.checkpoint.worlds import save, snapshot

OLD = Path(__file__).parent / "format-1"
FILES = ["manifest.json", "parameters.safetensors", "optimizer.safetensors"]


class Rejections(list[Rejected]):
    """Collects what the reader says."""

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self]


def newest_step(root: Path, told: Rejections) -> int | None:
    good = newest_good(root, on_rejected=told.append)
    return None if good is None else good.manifest.step


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


def test_without_checkpoints_there_is_none(tmp_path: Path) -> None:
    assert newest_step(tmp_path / "never-made", Rejections()) is None
    assert newest_step(tmp_path, Rejections()) is None


def test_the_newest_of_three_good_ones_is_found(tmp_path: Path) -> None:
    save(tmp_path, 2, 100_000_000, 30)
    told = Rejections()
    good = newest_good(tmp_path, on_rejected=told.append)
    assert good is not None
    assert good.folder == tmp_path / "step-100000000"
    assert told == []


def test_names_that_are_no_checkpoints_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 2)
    for name in ("step-3", "step-00000009.abcd.tmp", "step-00000008.removed", "step-000000007", "step-x", "notes"):
        (tmp_path / name).mkdir()
    assert newest_step(tmp_path, Rejections()) == 2


def drop(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [drop, truncate, extend, zero, become_a_folder])
def test_a_damaged_newest_is_set_aside_and_the_one_before_serves(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    save(tmp_path, 1, 2)
    damage(tmp_path / "step-00000002" / name)
    told = Rejections()
    assert newest_step(tmp_path, told) == 1
    (rejected,) = told
    assert rejected.path == tmp_path / "step-00000002"
    assert rejected.moved_to == tmp_path / "quarantine" / "step-00000002"
    assert (tmp_path / "quarantine" / "step-00000002.reason.txt").read_text() == f"{rejected.reason}\n"
    assert "step-00000002" in rejected.reason or name in rejected.reason
    assert layout.read_latest(tmp_path) == 1
    assert newest_step(tmp_path, told) == 1
    assert len(told) == 1, "what was set aside is not found again"


def test_when_all_are_broken_there_is_none_and_each_was_said(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    for step in (1, 2, 3):
        truncate(tmp_path / layout.folder_name(Step(step)) / "parameters.safetensors")
    told = Rejections()
    assert newest_step(tmp_path, told) is None
    assert [rejected.path.name for rejected in told] == ["step-00000003", "step-00000002", "step-00000001"]


def test_the_quarantine_keeps_two_of_the_same_name(tmp_path: Path) -> None:
    told = Rejections()
    for _ in range(2):
        save(tmp_path, 2)
        zero(tmp_path / "step-00000002" / "manifest.json")
        assert newest_step(tmp_path, told) is None
    assert {path.name for path in (tmp_path / "quarantine").iterdir() if path.is_dir()} == {
        "step-00000002",
        "step-00000002-2",
    }


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where syncing costs nothing, if this machine has one: hundreds of trials wait for no disk."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_any_flipped_bit_of_any_file_is_noticed(memory: Path) -> None:
    """A few hundred random bits; the opt-in twin of this test tries many more."""
    assert flip_bits(memory, trials=400, seed=1) == 400


@pytest.mark.opt_in
def test_thousands_of_flipped_bits_are_noticed(memory: Path) -> None:
    assert flip_bits(memory, trials=5_000, seed=2) == 5_000


def flip_bits(folder: Path, *, trials: int, seed: int) -> int:
    """Flip one random bit and read; count the trials in which it was said and the right one served."""
    dice, noticed = random.Random(seed), 0
    save(folder / "good", 1, 2)
    root = folder / "tried"
    for trial in range(trials):
        shutil.copytree(folder / "good", root)
        target = root / "LATEST" if trial % 4 == 3 else root / "step-00000002" / FILES[trial % 4]
        flip(target, dice.randrange(target.stat().st_size * 8))
        told = Rejections()
        expected = 2 if target.name == "LATEST" else 1
        noticed += newest_step(root, told) == expected and len(told) == 1
        assert newest_step(root, told) == expected
        assert len(told) == 1, "what was noticed is also mended"
        shutil.rmtree(root)
    return noticed


def test_a_latest_that_lags_is_put_right_without_a_word(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    layout.write_latest(tmp_path, Step(1))
    told = Rejections()
    assert newest_step(tmp_path, told) == 2
    assert told == []
    assert layout.read_latest(tmp_path) == 2


def test_a_latest_that_names_a_lost_checkpoint_is_said(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    shutil.rmtree(tmp_path / "step-00000002")
    told = Rejections()
    assert newest_step(tmp_path, told) == 1
    assert told.reasons == ["LATEST names step-00000002, which is not there"]


def test_a_latest_that_is_a_folder_does_not_stop_anybody(tmp_path: Path) -> None:
    save(tmp_path, 1)
    become_a_folder(tmp_path / "LATEST")
    told = Rejections()
    assert newest_step(tmp_path, told) == 1
    assert "LATEST cannot be read" in told.reasons[0]


def test_a_missing_latest_is_made(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "LATEST").unlink()
    assert newest_step(tmp_path, Rejections()) == 1
    assert layout.read_latest(tmp_path) == 1


def test_a_checkpoint_moved_aside_for_a_replacement_that_never_came_is_back(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000002.replaced")
    told = Rejections()
    assert newest_step(tmp_path, told) == 2
    assert told == []


def test_a_folder_under_a_wrong_name_is_broken_but_a_copy_elsewhere_is_not(tmp_path: Path) -> None:
    save(tmp_path, 2)
    shutil.copytree(tmp_path / "step-00000002", tmp_path / "my-favourite")
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000003")
    with pytest.raises(BrokenCheckpoint, match="called step-00000003 and holds step 2"):
        verify(tmp_path / "step-00000003")
    assert verify(tmp_path / "my-favourite").step == 2


def test_if_the_broken_one_cannot_be_moved_the_older_one_still_serves(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    truncate(tmp_path / "step-00000002" / "parameters.safetensors")
    (tmp_path / "quarantine").write_text("a file stands in the way")
    told = Rejections()
    assert newest_step(tmp_path, told) == 1
    assert told[0].moved_to is None
    assert "could not be set aside" in told.reasons[0]


def test_loading_verifies_too(tmp_path: Path) -> None:
    save(tmp_path, 2)
    folder = tmp_path / "step-00000002"
    flip(folder / "optimizer.safetensors", folder.joinpath("optimizer.safetensors").stat().st_size * 8 - 1)
    with pytest.raises(BrokenCheckpoint, match=r"v\.model\.layers\.0\.weight in optimizer\.safetensors was changed"):
        load(folder)
    truncate(folder / "optimizer.safetensors")
    with pytest.raises(BrokenCheckpoint, match="bytes long instead of"):
        load(folder)
    drop(folder / MANIFEST_NAME)
    with pytest.raises(BrokenCheckpoint, match="missing"):
        load(folder)


def test_a_tensor_that_the_manifest_does_not_know_is_broken() -> None:
    with pytest.raises(BrokenCheckpoint, match="does not know w"):
        reader._check_tensor(FileEntry("p.safetensors", "parameters", 0, "", {}), "w", "")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.EIO, BrokenCheckpoint, "input/output error"),
        (errno.EACCES, CheckpointError, "cannot read .*no right to use"),
        (errno.EMFILE, CheckpointError, "cannot read .*[Tt]oo many open files"),
    ],
)
def test_what_a_refused_read_means(code: int, kind: type[CheckpointError], words: str, tmp_path: Path) -> None:
    """Lost bytes are damage; a missing right is a person's task and must not cost a good checkpoint its place."""
    with pytest.raises(CheckpointError, match=words) as caught, reader._reading(tmp_path):
        raise OSError(code, os.strerror(code), str(tmp_path))
    assert type(caught.value) is kind


def test_a_checkpoint_of_a_newer_program_stops_the_reader_and_stays(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / MANIFEST_NAME
    from tests.unit.checkpoint.test_manifest import resealed

    path.write_bytes(resealed(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 9')))
    with pytest.raises(ForeignCheckpoint, match="format version 9"):
        newest_good(tmp_path, on_rejected=Rejections().append)
    assert path.exists()


SHAPES = {"model.layers.0.weight": (3, 4), "model.layers.0.bias": (4,)}


@pytest.mark.parametrize(
    ("architecture", "shapes", "optimizer", "words"),
    [
        ("llama", SHAPES, "adamw", ""),
        ("qwen2", SHAPES, "adamw", "another model: its architecture is llama, this one's is qwen2"),
        ("llama", SHAPES | {"x": (1,)}, "adamw", "another model: it has no parameter x, this one has"),
        ("llama", {"model.layers.0.weight": (3, 4)}, "adamw", r"it has a parameter model\.layers\.0\.bias"),
        ("llama", SHAPES | {"model.layers.0.bias": (5,)}, "adamw", r"bias is \[4\] there and \[5\] here"),
        ("llama", SHAPES, "lion", 'was trained with optim.name = "adamw", not "lion"'),
    ],
)
def test_a_checkpoint_of_another_model_or_optimizer_is_refused_with_the_difference(
    architecture: str, shapes: dict[str, tuple[int, ...]], optimizer: str, words: str, tmp_path: Path
) -> None:
    (manifest,) = save(tmp_path, 2)
    checkpoint = Checkpoint(tmp_path / "step-00000002", manifest)
    if not words:
        check_fits(checkpoint, architecture=architecture, shapes=shapes, optimizer=optimizer)
        return
    with pytest.raises(ForeignCheckpoint, match=words):
        check_fits(checkpoint, architecture=architecture, shapes=shapes, optimizer=optimizer)


def test_a_run_s_checkpoint_of_format_1_is_read_for_ever() -> None:
    """The fourth step of a real run of one worker, as commit 92b874e left it on disk: one file for each role."""
    folder = OLD / "step-00000004"
    manifest = verify(folder)
    assert [file.name for file in manifest.files] == ["parameters.safetensors", "optimizer.safetensors"]
    assert manifest.parameter_hash == "fd42e17a27fea697531c274054b2dd52"
    assert (manifest.provenance.run, manifest.provenance.ranks) == ("tiny", (0,))
    loaded = load(folder)
    assert (loaded.step, loaded.cursor) == (4, 64)
    assert loaded.counters == {"applied": 4, "tokens": 253, "generation": 1, "skipped": 0}
    assert parameter_hash(loaded.parameters) == manifest.parameter_hash
    assert parameter_hash(loaded.optimizer) == "6044767bd7a73b87aab73fc2861d2f90"
    assert {name[:2] for name in loaded.optimizer} == {"m.", "v."}


def test_a_committed_checkpoint_of_format_1_in_several_pieces_is_read_for_ever() -> None:
    """Written once by the first version of this program; if this test fails, users lose their checkpoints."""
    folder = OLD / "step-00000007"
    manifest = verify(folder)
    assert manifest.format_version == 1
    assert manifest.parameter_hash == "0a006a51319f35c479b1ec7b9fb42f62"
    assert manifest.counters == {"applied_steps": 7, "loss_scale": float("inf"), "tokens": 7000}
    assert manifest.metrics == {"eval/loss": 2.25}
    assert manifest.provenance.ranks == (0, 1)
    loaded = load(folder)
    assert (loaded.step, loaded.cursor) == (7, 224)
    assert {name: str(array.dtype) for name, array in loaded.parameters.items()} == {
        "embed.weight": "mlx.core.bfloat16",
        "norm.weight": "mlx.core.float32",
    }
    assert loaded.parameters["embed.weight"].tolist() == [[0.0, 0.5, 1.0], [1.5, 2.0, 2.5]]
    assert loaded.optimizer["master.embed.weight"].tolist() == [[0.0, 0.5, 1.0], [1.5, 2.0, 2.5]]
    assert np.array_equal(np.array(loaded.optimizer["m.embed.weight"]), np.arange(6, dtype=np.float32).reshape(2, 3))
    assert parameter_hash(loaded.parameters) == manifest.parameter_hash


def test_step_7_of_the_fixture_and_of_today_have_the_same_names() -> None:
    assert layout.folder_name(snapshot(7).step) == (OLD / "step-00000007").name
