"""`[model]` as the data that runtime.models asks for, and small models to try it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.models.load import Loaded, load_model


@dataclass(frozen=True)
class Scratch:
    architecture: str = "llama"
    tokenizer: str = "bytes"
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
    intermediate_size: int = 64
    further: dict[str, Any] = field(default_factory=dict)
    written: frozenset[str] = frozenset({"architecture"})

    @property
    def model_fields_set(self) -> set[str]:
        return {*self.written, *self.further}

    def model_dump(self) -> dict[str, Any]:
        values = asdict(self)
        further = values.pop("further")
        values.pop("written")
        return {**values, **further}


@dataclass(frozen=True)
class Model:
    path: str = ""
    revision: str = "main"
    dtype: str = "auto"
    chat_template: str = "auto"
    stop_tokens: tuple[str, ...] = ()
    scratch: Scratch = Scratch()


@pytest.fixture(scope="session")
def scratch_type() -> type[Scratch]:
    return Scratch


@pytest.fixture(scope="session")
def model_type() -> type[Model]:
    return Model


@pytest.fixture(scope="session")
def tiny() -> Loaded:
    return load_model(Model(), seed=7)


@pytest.fixture
def exported(tmp_path: Path, tiny: Loaded) -> Path:
    from mlx.utils import tree_flatten

    from runtime.models.load import write_model_folder

    write_model_folder(tmp_path / "exported", tiny, dict(tree_flatten(tiny.model.parameters())))
    return tmp_path / "exported"
