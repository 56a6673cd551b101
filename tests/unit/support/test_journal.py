"""The follower of a journal: what is whole is read once, what is torn is left for the next look."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.events import Envelope, StopRequested, envelope_to_json
from runtime.ids import ActorPath
from tests.support.journal import Follower, read_journal
from tests.support.run_process import rank_of


def line(seq: int) -> str:
    return json.dumps(envelope_to_json(Envelope(seq, 0.0, ActorPath("root"), StopRequested(by="SIGINT")))) + "\n"


def test_a_follower_reads_each_line_once_and_waits_for_the_rest_of_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = Follower(path)
    assert follower.fresh() == []
    path.write_text(line(1) + line(2)[:10])
    assert [envelope.seq for envelope in follower.fresh()] == [1]
    path.write_text(line(1) + line(2) + line(3))
    assert [envelope.seq for envelope in follower.fresh()] == [2, 3]
    assert follower.fresh() == []
    assert [envelope.seq for envelope in follower.seen] == [1, 2, 3] == [e.seq for e in read_journal(path)]


def test_a_rank_is_read_from_the_workers_own_path_only() -> None:
    assert rank_of("run/node/worker-3") == 3
    assert rank_of("run/node/worker-3/trainer") is None
    assert rank_of("run/coordinator") is None
