"""Small models to try the room on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.config.model import ModelSettings, ScratchSettings
from runtime.models.load import Loaded, load_model

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def scratch(**keys: Any) -> ScratchSettings:
    """`[model.scratch]` of a small model with these further keys."""
    return ScratchSettings.model_validate({**SMALL, **keys})


def small_model(**keys: Any) -> ModelSettings:
    """`[model]` of a small model."""
    return ModelSettings(**{"scratch": scratch(), **keys})


@pytest.fixture(scope="session")
def tiny() -> Loaded:
    return load_model(small_model(), seed=7)


@pytest.fixture
def exported(tmp_path: Path, tiny: Loaded) -> Path:
    from mlx.utils import tree_flatten

    from runtime.models.load import write_model_folder

    write_model_folder(tmp_path / "exported", tiny, dict(tree_flatten(tiny.model.parameters())))
    return tmp_path / "exported"
