"""`mlx-distributed doctor`: facts for a person and for a script, and advice where something is wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

import pytest

from console.cli.commands import doctor

FACTS: dict[str, Any] = {
    "python": "3.13.0",
    "platform": "Linux",
    "versions": {"mlx": "0.32.4"},
    "cores": 2,
    "memory_bytes": 24 * 2**30,
    "devices": [{"kind": "cpu", "index": 0, "name": "Some CPU"}],
    "compiler": "/usr/bin/g++",
    "compile_supported": True,
    "blas": {"name": "openblas 0.3.34", "fast": True, "threads": 2, "note": ""},
    "gflops": 170.4,
}


def test_every_fact_is_a_line() -> None:
    assert doctor.lines({**FACTS, "advice": ["do this"]}) == [
        "python     3.13.0 on Linux",
        "versions   mlx 0.32.4",
        "cores      2",
        "memory     24.0 GiB",
        "device     cpu 0: Some CPU",
        "blas       openblas 0.3.34, 2 threads: 170 GFLOP/s in float32",
        "compiler   /usr/bin/g++",
        "mx.compile works",
        "advice     do this",
    ]


def test_what_is_missing_is_a_line_too() -> None:
    lesser = {
        **FACTS,
        "blas": {**FACTS["blas"], "threads": 0},
        "gflops": None,
        "compiler": "",
        "compile_supported": False,
        "advice": [],
    }
    assert doctor.lines(lesser)[5:] == [
        "blas       openblas 0.3.34: not measured",
        "compiler   no g++",
        "mx.compile off",
    ]


def test_a_good_machine_gets_no_advice() -> None:
    assert doctor.advice(FACTS, "") == []


@pytest.mark.parametrize(
    ("change", "failure", "sentence"),
    [
        ({"gflops": None}, "no libmlx", "mlx cannot compute here: no libmlx"),
        ({"blas": {"note": "no patchelf"}}, "", "training will be slow: no patchelf"),
        ({"gflops": 5.0}, "", "5 GFLOP/s is little: is the machine busy with something else?"),
        (
            {"compile_supported": False},
            "",
            "mx.compile needs g++ on a CPU: install it, or train without (train.compile = false)",
        ),
    ],
)
def test_each_fault_gets_its_advice(change: dict[str, Any], failure: str, sentence: str) -> None:
    assert doctor.advice({**FACTS, **change}, failure) == [sentence]


def test_the_command_prints_the_facts_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert doctor.run(parser.parse_args(["--json"])) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["mlx"]
    assert facts["gflops"] > 0
    assert [line for line in doctor.lines(facts) if "GFLOP/s" in line]


def test_a_machine_where_mlx_does_not_start_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", None)  # Python's own way to say that it cannot be imported
    assert doctor.run(argparse.Namespace(json=False, host="")) == 1
    assert "mlx cannot compute here: import of mlx.core halted" in capsys.readouterr().out


def test_a_package_that_is_not_installed_is_left_out() -> None:
    assert list(doctor.versions(("mlx", "no-such-package"))) == ["mlx"]


def test_a_system_without_core_affinity_counts_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert doctor.cores() == os.cpu_count()
