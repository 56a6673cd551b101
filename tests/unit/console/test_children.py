"""Commands as child processes of the console, and what their answers look like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.client import children
from console.client.children import Refused, Started, answer, begun, last_words
from console.state.sample_rows import sample_lines
from console.state.spans import text_of, width_of
from tests.unit.console.seats import in_console


def test_samples_show_what_is_learnt_in_brackets_and_break_at_the_width() -> None:
    report = {
        "train_samples": 12, "held_out_samples": 2, "quarantined": 1, "dropped": 0, "truncated": 0, "train_tokens": 900,
        "trained_tokens": 300, "mask_method": "template", "longest": 70, "streamed": False, "files": ["t.jsonl"],
    }  # fmt: skip
    pieces = [{"text": "user: 2 + 3?\n", "learnt": False}, {"text": "five, " * 8, "learnt": True}]
    sample = {"file": "/x/t.jsonl", "line": 3, "tokens": 20, "learnt": 9, "stop_learnt": False, "pieces": pieces}
    document = {
        "report": report,
        "quarantined": [{"file": "t.jsonl", "line": 9, "reason": "no answer"}],
        "samples": [sample],
    }
    lines = sample_lines(document, 20)
    whole = "\n".join(map(text_of, lines))
    for part in ("12 samples", "t.jsonl:9 no answer", "t.jsonl:3", "no stop token learnt", "⟦five"):
        assert part in whole
    assert all(width_of(line) <= 22 for line in lines[6:])
    assert "read while training" in text_of(sample_lines({**document, "report": {**report, "streamed": True}}, 20)[0])


def test_a_command_gives_its_answer_or_its_sentence(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[train]\nsteps = 3\n")

    async def used() -> None:
        shown_config = await answer(["config", "show", str(config), "--json"], 60.0)
        assert shown_config["config"]["train"]["steps"] == 3
        with pytest.raises(Refused, match="no such file"):
            await children.plan(tmp_path / "gone.toml", ["train.steps=4"])
        with pytest.raises(Refused, match="has not ended within 0 s"):
            await answer(["config", "show", str(config), "--json"], 0.0)

    in_console(used)
    assert last_words("a\nb\nerror: c\n  d\n") == "c\n  d"
    assert last_words("1\n2\n3\n4\n") == "2\n3\n4"


@contextmanager
def started(code: str, runs: Path, told: dict[Path, int]) -> Iterator[Started]:
    log = runs / "one.log"
    with (
        log.open("wb") as file,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=file, cwd=runs) as process,
    ):
        yield Started(process, runs, log, told)
        process.kill()


def test_a_run_that_ends_before_it_says_anything_is_told_with_its_last_words(tmp_path: Path) -> None:
    async def used() -> None:
        with (
            started("print('error: no such data'); raise SystemExit(2)", tmp_path, {}) as run,
            pytest.raises(Refused, match="no such data"),
        ):
            await begun(run, look_seconds=0.01)

    in_console(used)


@pytest.mark.parametrize("last", ["pass", "import sys; sys.stdin.read()"], ids=["ended", "training"])
def test_a_run_is_followed_in_the_folder_that_it_has_taken_not_in_that_of_its_namesake(
    tmp_path: Path, last: str
) -> None:
    for name in ("one", "one-2"):
        (tmp_path / name).mkdir()
    namesake = tmp_path / "one" / "events.jsonl"
    namesake.write_text("{}\n{}\n")
    (tmp_path / "one" / "run.pid").write_text("{")
    is_still_training = last != "pass"
    told = {tmp_path / "one": 3 if is_still_training else namesake.stat().st_size}
    code = (
        "import json, os; open('one-2/run.pid', 'w').write(json.dumps({'pid': os.getpid()})); "
        f"open('one-2/events.jsonl', 'w').write('fact\\n'); {last}"
    )

    async def used() -> None:
        with started(code, tmp_path, told) as run:
            assert await begun(run, look_seconds=0.01) == tmp_path / "one-2"

    in_console(used)
