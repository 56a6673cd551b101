"""Files of lines by number: every line where it is, however it ends, and an index that is made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data import lines as module
from runtime.data.lines import Lines, key_of, open_lines
from runtime.errors import DataError


def opened(folder: Path, content: bytes, name: str = "a.jsonl") -> module.LineFile:
    path = folder / name
    path.write_bytes(content)
    return open_lines(path, folder / "cache")


@given(st.lists(st.binary(max_size=9).map(lambda one: one.replace(b"\n", b"")), max_size=12), st.booleans())
@settings(max_examples=40)
def test_every_line_is_found_with_or_without_a_last_newline(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool
) -> None:
    content = b"\n".join(lines) + (b"\n" if ended else b"")
    file = opened(tmp_path_factory.mktemp("lines"), content)
    expected = content.splitlines(keepends=True) if b"\r" not in content else None
    split = [one + b"\n" for one in content.split(b"\n")[:-1]] + [content.split(b"\n")[-1]] * (content[-1:] != b"\n")
    split = [one for one in split if one]
    assert [file.line(number) for number in range(len(file))] == [
        one.removeprefix(b"\xef\xbb\xbf") if at == 0 else one for at, one in enumerate(split)
    ]
    assert expected is None or len(expected) >= len(file)
    assert file.lengths(np.arange(len(file))).tolist() == [len(one) for one in split]
    file.close()
    file.close()


def test_lines_that_reach_over_blocks_are_whole(tmp_path: Path) -> None:
    long = b"x" * (module._BLOCK_BYTES + 5)
    file = opened(tmp_path, b"a\n" + long + b"\nb")
    assert [file.line(0), file.line(1), file.line(2)] == [b"a\n", long + b"\n", b"b"]


def test_an_index_is_made_once_and_again_when_the_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert len(opened(tmp_path, b"1\n2\n")) == 2
    (index,) = (tmp_path / "cache" / "lines").glob("*.u64")
    made = index.stat().st_mtime_ns
    assert len(open_lines(path, tmp_path / "cache")) == 2
    assert index.stat().st_mtime_ns == made
    before = key_of(path)
    path.write_bytes(b"1\n2\n3\n")
    assert key_of(path) != before
    assert len(open_lines(path, tmp_path / "cache")) == 3
    os.utime(path, ns=(1, 1))
    assert len(list((tmp_path / "cache" / "lines").glob("*.u64"))) == 2
    assert key_of(path) != before


def test_several_files_are_one_range(tmp_path: Path) -> None:
    files = [opened(tmp_path, content, name) for name, content in (("a", b"1\n22\n"), ("b", b""), ("c", b"333\n4\n"))]
    lines = Lines(files)
    assert len(lines) == 4
    assert [file.line(at) for file, at in map(lines.place, range(4))] == [b"1\n", b"22\n", b"333\n", b"4\n"]
    assert lines.lengths(np.array([3, 0, 2, 1])).tolist() == [2, 2, 4, 3]
    assert len(lines.key.split()) == 3
    lines.close()
    assert len(Lines([])) == 0


def test_a_file_that_is_cut_while_it_is_read_says_so(tmp_path: Path) -> None:
    file = opened(tmp_path, b"1\n22\n")
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    with pytest.raises(DataError, match="was cut while it was read: line 2 is gone"):
        file.line(1)
    file.close()
    with pytest.raises(DataError, match="cannot be read"):
        file.line(0)


def test_a_place_for_the_index_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"a.jsonl cannot be indexed: .*cache"):
        opened(tmp_path, b"1\n")
    with pytest.raises(DataError, match="cannot be indexed: No such file"):
        open_lines(tmp_path / "missing", tmp_path)


def test_a_long_indexing_says_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n2\n")
    said: list[str] = []
    open_lines(tmp_path / "a.jsonl", tmp_path, said.append, every_seconds=-1.0)
    assert said == [f"indexing {tmp_path / 'a.jsonl'}: 100%, 2 lines"]
