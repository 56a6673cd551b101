"""Where the tracking of a run stands, from session to session."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.tracking.progress import Progress, read_progress, write_progress


def test_a_resumed_run_keeps_its_id_and_goes_on_after_the_last_fact(tmp_path: Path) -> None:
    assert read_progress(tmp_path, "new") == Progress("new", 0)
    write_progress(tmp_path, Progress("first", 17))
    assert read_progress(tmp_path, "new") == Progress("first", 17)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "a"}', '{"id": "a", "seq": "x"}'])
def test_a_broken_note_is_a_new_beginning(tmp_path: Path, text: str) -> None:
    write_progress(tmp_path, Progress("first", 17))
    (tmp_path / "tracking" / "wandb.json").write_text(text)
    assert read_progress(tmp_path, "new") == Progress("new", 0)
