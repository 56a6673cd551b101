"""The table of architectures that can be cut into stages, by name only: `pytest -m opt_in tests/benchmarks`."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import pytest

from runtime.models.scratch import architectures
from tests.benchmarks.architectures import verdict

TABLE = Path(__file__).parents[1] / "fixtures" / "architectures.txt"
"""Of the mlx_lm that the environment installs, on a CPU: what is cut there has the gradients of the uncut model."""


@pytest.mark.opt_in
@pytest.mark.timeout(3600)
def test_every_architecture_of_mlx_lm_is_cut_or_refused_as_the_table_says() -> None:
    mx.disable_compile()  # some write kernels of a kind that a CPU does not have
    kinds = {name: verdict(name, numbers=True)[0] for name in architectures()}
    table = (line.split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    told = {name: "not tried" if kind == "not" else kind for name, kind, *_ in table}
    assert kinds == told


def test_the_table_names_a_reason_for_all_that_is_refused() -> None:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    kinds = [line[23:33].strip() for line in lines]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"cut": 110, "refused": 9, "not tried": 8}
    assert all(line[34:].strip() for line in lines)
