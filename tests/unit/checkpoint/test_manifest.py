from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.checkpoint.hashing import digest_of
from runtime.checkpoint.manifest import (
    FileEntry,
    Manifest,
    Role,
    TensorEntry,
    of_files,
    parse,
    read_manifest,
)
from runtime.checkpoint.refusals import BrokenCheckpoint, ForeignCheckpoint
from runtime.ids import Cursor, Step
from tests.unit.checkpoint.worlds import PROVENANCE

HERE = Path("checkpoints/step-00000007")
DIGEST = digest_of(b"")


def entry(piece: tuple[int, int] | None = None, *, shape: tuple[int, ...] = (2, 5), dtype: str = "F32") -> TensorEntry:
    return TensorEntry(dtype, shape, DIGEST, piece)


def file(name: str, role: Role, **tensors: TensorEntry) -> FileEntry:
    return FileEntry(f"{name}.safetensors", role, 100, DIGEST, tensors)


def manifest(*files: FileEntry) -> Manifest:
    chosen = files or (file("parameters", "parameters", w=entry()), file("optimizer", "optimizer", m=entry()))
    return of_files(
        chosen,
        step=Step(7),
        cursor=Cursor(224),
        counters={"applied_steps": 7},
        metrics={"eval/loss": 0.5},
        provenance=PROVENANCE,
        created_at=1.5e9,
    )


def resealed(content: bytes) -> bytes:
    """A manifest with changed fields and a digest that fits them: what another program version would write."""
    prefix = content[: content.index(b',\n "manifest_hash"')]
    return prefix + f',\n "manifest_hash": "{digest_of(prefix)}"\n}}\n'.encode()


def test_what_is_rendered_is_parsed_and_is_plain_json() -> None:
    ours = manifest(file("p", "parameters", w=entry()), file("o", "optimizer", m=entry((0, 10))))
    assert parse(ours.render(), HERE) == ours
    assert json.loads(ours.render())["files"][1]["tensors"]["m"]["piece"] == [0, 10]
    assert ours.size_bytes == 200


counters = st.dictionaries(st.text(max_size=8), st.integers() | st.floats(allow_nan=False), max_size=4)


@given(counters=counters, metrics=st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=4))
def test_every_counter_and_metric_survives(counters: dict[str, float], metrics: dict[str, float]) -> None:
    ours = replace(manifest(), counters=counters, metrics=metrics)
    assert parse(ours.render(), HERE) == ours


def test_every_changed_bit_is_noticed() -> None:
    content = manifest().render()
    for position in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(BrokenCheckpoint):
            parse(bytes(damaged), HERE)


def test_every_shortened_manifest_is_noticed() -> None:
    content = manifest().render()
    for length in range(len(content)):
        with pytest.raises(BrokenCheckpoint, match="cut off or damaged"):
            parse(content[:length], HERE)


def test_a_missing_manifest_is_a_broken_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)


def test_a_newer_format_is_foreign_and_not_broken() -> None:
    content = resealed(manifest().render().replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ForeignCheckpoint, match="format version 2 and this program reads up to 1"):
        parse(content, HERE)


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    content = resealed(manifest().render().replace(b'"step": 7', b'"step": 7,\n "weather": "fine"'))
    assert parse(content, HERE) == manifest()


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ([], "no parameters"),
        ([file("o", "optimizer", m=entry())], "no parameters"),
        ([file("p", "parameters")], "no parameters"),
        ([file("../p", "parameters", w=entry())], "no name for a file"),
        ([file("p", "parameters", w=entry()), file("p", "optimizer", m=entry())], "same name"),
        ([file("p", "parameters", w=entry()), file("q", "parameters", w=entry())], "gap or overlap at element 0"),
        ([file("p", "parameters", w=entry((0, 10)))], "the parameter w is cut into pieces"),
        ([file("p", "parameters", w=entry(shape=(0,))), file("q", "parameters", w=entry(shape=(0,)))], "cover 0 of 0"),
    ],
)
def test_files_that_do_not_add_up_are_refused(files: list[FileEntry], fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        of_files(
            tuple(files),
            step=Step(7),
            cursor=Cursor(0),
            counters={},
            metrics={},
            provenance=PROVENANCE,
            created_at=0.0,
        )


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([entry((0, 4)), entry((4, 10))], ""),
        ([entry((4, 10)), entry((0, 4))], ""),
        ([entry((0, 4)), entry((4, 4)), entry((4, 10))], ""),
        ([entry((0, 4)), entry((5, 10))], "gap or overlap at element 4"),
        ([entry((0, 5)), entry((4, 10))], "gap or overlap at element 4"),
        ([entry((0, 4)), entry((4, 9))], "cover 9 of 10"),
        ([entry((0, 4)), entry((4, 11))], "cover 11 of 10"),
        ([entry((0, 4)), entry((4, 3)), entry((3, 10))], "gap or overlap at element 3"),
        ([entry((0, 4)), entry((4, 10), dtype="F16")], "disagree"),
        ([entry((0, 4)), entry((4, 10), shape=(10,))], "disagree"),
    ],
)
def test_pieces_must_cover_a_tensor_exactly_once(pieces: list[TensorEntry], fault: str) -> None:
    files = [file("p", "parameters", w=entry())]
    files += [file(f"o{i}", "optimizer", m=piece) for i, piece in enumerate(pieces)]
    if fault:
        with pytest.raises(ValueError, match=fault):
            manifest(*files)
    else:
        assert parse(manifest(*files).render(), HERE).files == tuple(files)


def test_a_sealed_manifest_whose_files_do_not_add_up_is_broken() -> None:
    content = resealed(manifest().render().replace(b'"name": "optimizer.', b'"name": "parameters.'))
    with pytest.raises(BrokenCheckpoint, match="same name"):
        parse(content, HERE)
