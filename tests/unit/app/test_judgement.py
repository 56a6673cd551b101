"""Who is to blame when a run ends, and how many workers a host gets when nobody said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.actors import Exit, FatalExit
from runtime.app.exits import CANNOT_START, UNRECOVERABLE
from runtime.app.root import Briefing, Root
from runtime.app.run import _judge
from runtime.cluster.detector import HangDetector
from runtime.errors import GaveUp
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    journal = Journal(tmp_path / "events.jsonl")
    briefing = Briefing("id", "token", 2, "hash", "0.1", "the command", {})
    yield Root(journaled_bus(journal), journal, briefing, HangDetector(6.0, 20.0))
    journal.close()


GAVE_UP = GaveUp("worker-1 failed 4 times within 300 s", path="run/node", tail="its last words")


def test_what_the_coordinator_said_counts_before_everything(root: Root) -> None:
    root.outcome, root.reason = "done", ""
    assert _judge(root, GAVE_UP) == ("done", "", "")


def test_a_tree_that_ended_quietly_before_the_run_did_has_failed(root: Root) -> None:
    assert _judge(root, None) == ("failed", "every process ended before the run did", "")


def test_a_restart_limit_shows_the_last_words_of_whoever_passed_it(root: Root) -> None:
    assert _judge(root, GAVE_UP) == ("gave_up", str(GAVE_UP), "its last words")


def test_a_childs_own_sentence_is_the_reason(root: Root) -> None:
    root.fatal = Exit.of(FatalExit("exited with 78", code=UNRECOVERABLE, tail="loading\nerror: no such data\n"))
    assert _judge(root, GAVE_UP) == ("failed", "no such data", "")


def test_without_a_sentence_the_supervisors_is_the_reason(root: Root) -> None:
    root.fatal = Exit.of(FatalExit("exited with 78", code=UNRECOVERABLE, tail=""))
    assert _judge(root, GAVE_UP) == ("failed", str(GAVE_UP), "")


def test_a_worker_that_cannot_start_is_given_up_on_with_its_traceback(root: Root) -> None:
    root.fatal = Exit.of(FatalExit("exited with 79", code=CANNOT_START, tail="Traceback ..."))
    assert _judge(root, GAVE_UP) == ("gave_up", str(GAVE_UP), "its last words")
