"""The code under test: the real one, or a copy of it with a mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.cluster.coordinator import Coordinator
from runtime.cluster.core import Core
from runtime.trainer.trainer import Identity, Trainer


@dataclass(frozen=True)
class Code:
    """The classes that a virtual cluster is made of."""

    Core: Any = Core
    Coordinator: Any = Coordinator
    Trainer: Any = Trainer
    Identity: Any = Identity


REAL = Code()
