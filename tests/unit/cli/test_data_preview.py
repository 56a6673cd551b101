"""`mlx-distributed data preview`: samples with their masks, and the account of the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from console.cli.commands import data
from console.cli.main import main

RECORDS: list[Any] = [{"instruction": f"question {number}", "output": "yes"} for number in range(3)]
CONFIG = """
[data]
max_bad_fraction = 0.9
[[data.source]]
path = "train.jsonl"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    lines = [json.dumps(record) for record in RECORDS] + ["{"] * 7
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


def test_the_learnt_part_is_marked_and_the_rest_is_accounted_for(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "preview", str(config)]) == 0
    assert [re.sub(r"\S*/", "", line) for line in capsys.readouterr().out.splitlines()] == [
        "--- train.jsonl:1: 34 tokens, 4 learnt, the last of them a stop token",
        "<|im_start|>user",
        "question 0<|im_end|>",
        "<|im_start|>assistant",
        "⟦yes<|im_end|>⟧",
        "---",
        "files        train.jsonl",
        "format       alpaca: train.jsonl:1 has the columns instruction, output",
        "mask         by generation markers of the chat template",
        "samples      3 to train on, 0 held out; 7 quarantined, 0 dropped as too long, 0 truncated",
        "tokens       99, 12 of them learnt; longest sample 33",
        *(
            f"quarantined  train.jsonl:{line} not JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)"
            for line in range(4, 9)
        ),
        "quarantined  and 2 more",
    ]


def test_json_has_every_piece_and_every_bad_record(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "preview", str(config), "--json", "--samples", "2", "--set", "data.mask='all'"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["samples"]), len(told["quarantined"]), told["report"]["train_samples"]) == (2, 7, 3)
    first = told["samples"][0]
    assert (first["line"], first["tokens"], first["learnt"], first["stop_learnt"]) == (1, 34, 33, False)
    assert "".join(piece["text"] for piece in first["pieces"]).startswith("<|im_start|>user\nquestion 0")


def test_colour_is_a_choice(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "preview", str(config), "--colour", "always"]) == 0
    assert "\x1b[38;5;16;48;5;114myes<|im_end|>\x1b[0m" in capsys.readouterr().out
    assert not data.in_colour("auto")
    assert not data.in_colour("never")


def test_what_a_run_would_fail_with_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "preview", str(config), "--set", "data.max_bad_fraction=0.1"]) == 1
    assert "7 of 10 records are malformed" in capsys.readouterr().err
    assert main(["data", "preview", str(config), "--set", "data.mask='none'"]) == 2


def test_streamed_data_are_shown_without_reading_them_all(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = config.parent / "cache"
    words = ["--set", "data.streaming=true", "--set", f"data.cache_dir='{cache}'"]
    assert main(["data", "preview", str(config), *words]) == 0
    out = capsys.readouterr().out
    assert "⟦yes<|im_end|>⟧" in out
    assert "samples      10 streamed and 0 held-out samples" in out
