"""Rows of Parquet files, through pyarrow: an optional extra, because it is larger than everything else together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import DataError

_ROWS_AT_ONCE = 1024


def rows_of_parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of every row; lists and structs come as lists and dictionaries.

    Raises DataError for a file that is no Parquet, and where pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(
            f"{file} is a Parquet file, which needs pyarrow: install mlx-distributed[hf], or convert the file to JSONL"
        ) from error
    number = 0
    try:
        with ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {error}") from error
