"""The bytes tokenizer with several templates, and small data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.encoded import Encoded
from runtime.data.tokens import TokenDataset
from runtime.models.bytes_tokenizer import write_bytes_tokenizer
from runtime.models.tokenizer import open_tokenizer, tokenizer_files


class TokenizerMaker:
    """Tokenizers of 260 bytes with any template."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        write_bytes_tokenizer(folder / "tokenizer")

    def __call__(self, template: str = "") -> Any:
        path = self._folder / "template.jinja"
        path.write_text(template)
        return open_tokenizer(tokenizer_files(self._folder / "tokenizer", str(path) if template else "auto"))


@pytest.fixture(scope="session")
def make_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TokenizerMaker:
    return TokenizerMaker(tmp_path_factory.mktemp("tokenizers"))


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer: TokenizerMaker) -> Any:
    return make_tokenizer()


def samples_of(lengths: list[int]) -> TokenDataset:
    """Sample i: `lengths[i]` tokens, the first of them i + 1, all but the first learnt."""
    return TokenDataset.of(
        [Encoded((i + 1, *range(100, 99 + length)), (0, *([1] * (length - 1)))) for i, length in enumerate(lengths)]
    )


@pytest.fixture(scope="session")
def ragged() -> TokenDataset:
    """203 samples of 2 to 90 tokens."""
    return samples_of([int(length) for length in np.random.default_rng(0).integers(2, 91, 203)])
