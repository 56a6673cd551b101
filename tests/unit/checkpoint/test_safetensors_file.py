from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from runtime.checkpoint import safetensors_file
from runtime.checkpoint.hashing import digest_of
from runtime.checkpoint.refusals import BrokenCheckpoint
from runtime.checkpoint.safetensors_file import read_digests, read_tensors, write_tensors

TENSORS = {
    "small": np.arange(3, dtype=np.int8),
    "wide": np.arange(12, dtype=np.float32).reshape(3, 4),
    "scalar": np.float32(2.5).reshape(()),
    "none": np.zeros((0, 7), np.float16),
    "half": np.arange(5, dtype=np.float16),
}


def test_what_is_written_is_read_back_by_us_by_safetensors_and_by_mlx(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    written = write_tensors(path, TENSORS)
    ours = {slot.name: (digest, array) for slot, digest, array in read_tensors(path, written.header.digest)}
    theirs, mlx_read = load_file(path), mx.load(str(path))
    assert set(ours) == set(theirs) == set(mlx_read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert np.array_equal(ours[name][1], tensor)
        assert ours[name][1].dtype == tensor.dtype
        assert np.array_equal(theirs[name], tensor)
        assert np.array_equal(np.array(mlx_read[name]), tensor)
        assert ours[name][0] == written.tensors[name] == digest_of(tensor.tobytes())


def test_bfloat16_from_mlx_arrives_at_mlx(tmp_path: Path) -> None:
    weight = mx.random.normal((6, 5)).astype(mx.bfloat16)
    mx.eval(weight)
    write_tensors(tmp_path / "x.safetensors", {"w": weight})
    again = mx.load(str(tmp_path / "x.safetensors"))["w"]
    assert again.dtype == mx.bfloat16
    assert mx.array_equal(again, weight).item()


def test_hashing_a_file_finds_what_writing_it_found(tmp_path: Path) -> None:
    written = write_tensors(tmp_path / "x.safetensors", TENSORS)
    assert read_digests(tmp_path / "x.safetensors") == written
    assert (tmp_path / "x.safetensors").stat().st_size == written.size_bytes


def test_a_tensor_larger_than_a_chunk_is_hashed_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_file, "CHUNK_BYTES", 7)
    path = tmp_path / "x.safetensors"
    written = write_tensors(path, TENSORS)
    assert read_digests(path) == written
    assert {slot.name: digest for slot, digest, _ in read_tensors(path, written.header.digest)} == written.tensors


def test_an_empty_file_of_tensors_is_a_file(tmp_path: Path) -> None:
    written = write_tensors(tmp_path / "x.safetensors", {})
    assert read_digests(tmp_path / "x.safetensors") == written


def test_every_shortened_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenCheckpoint):
            read_digests(path)


def with_header(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        with_header(b"[]"),
        with_header(b'"text"'),
        with_header(b"{"),
        with_header(b"[" * 100_000),
        with_header(b'{"w": 3}'),
        with_header(b'{"w": {}}'),
        with_header(b'{"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        with_header(b'{"w": {"dtype": 7, "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        with_header(b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}'),
        with_header(b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', bytes(4)),
        with_header(b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', bytes(8)),
        with_header(b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(5)),
        (1 << 62).to_bytes(8, "little") + b"{}",
    ],
)
def test_a_file_that_lies_about_itself_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match=r"x\.safetensors"):
        read_digests(path)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    written = write_tensors(path, TENSORS)
    reading = read_tensors(path, written.header.digest)
    next(reading)
    path.write_bytes(path.read_bytes()[: written.header.size_bytes + 8])
    with pytest.raises(BrokenCheckpoint, match="cut off"):
        list(reading)


def test_another_header_than_the_promised_one_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", TENSORS)
    with pytest.raises(BrokenCheckpoint, match="header"):
        next(read_tensors(tmp_path / "x.safetensors", "0" * 32))
