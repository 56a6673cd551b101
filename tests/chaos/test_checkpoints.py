"""The short form of `python -m tests.chaos.checkpoints`; `tests/integration/checkpoint` kills the writers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.checkpoints import damages, everything, flips, memory

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlxd-checkpoints-", dir=memory()) as name:
        yield Path(name)


def test_every_flipped_bit_is_noticed_and_the_newest_good_checkpoint_is_loaded(folder: Path) -> None:
    found = flips(folder, 60, seed=7)
    assert found.wrong == []
    assert {"LATEST", "manifest.json", "parameters-0.safetensors", "optimizer.safetensors"} <= found.hit.keys()


def test_every_other_damage_is_noticed_or_mended(folder: Path) -> None:
    assert damages(folder).wrong == []


@pytest.mark.opt_in
@pytest.mark.timeout(7200)
def test_a_thousand_flips_and_two_hundred_kills(folder: Path) -> None:
    found = everything(folder, flip_trials=1000, kill_trials=200, seed=1)
    for name, tally in found.items():
        print(f"{name}: {tally}")
        assert tally.wrong == []
