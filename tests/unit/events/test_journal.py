from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events import Envelope, Event, RunFinished, RunStarted, StopRequested, Warned
from runtime.events.journal import Journal, JournalTail, decode_line, encode_line, tail_of
from runtime.events.replay import JournalReader, replay
from runtime.ids import ActorPath, Step


def enveloped(seq: int, event: Event | None = None) -> Envelope:
    return Envelope(seq, 1000.0 + seq, ActorPath("root"), event or Warned("here", f"fact {seq}"))


def started() -> RunStarted:
    return RunStarted("quick", 2, Step(1), Step(9), 32, "c")


def finished() -> RunFinished:
    return RunFinished("done", Step(9), 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_each_fact_is_one_line_of_json(path: Path) -> None:
    journal = Journal(path)
    journal.write(enveloped(1, Warned("a", "two\nlines, ünïcode and \ud800")))
    journal.close()
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["event"]["type"] == "Warned"


def test_a_line_is_in_the_file_when_write_returns(path: Path) -> None:
    journal = Journal(path)
    journal.write(enveloped(1))
    assert list(JournalReader(path)) == [enveloped(1)]
    journal.close()


def test_a_second_close_does_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.write(enveloped(1))
    journal.close()
    with path.open("rb") as successor:  # whoever opens next gets the number of the file that was closed
        journal.close()
        assert decode_line(successor.read()) == enveloped(1)


def test_numbers_go_on_over_a_resumed_run(path: Path) -> None:
    first = Journal(path)
    assert first.next_seq == 1
    for seq in (1, 2, 3):
        first.write(enveloped(seq))
    first.close()
    second = Journal(path)
    assert second.next_seq == 4
    second.close()


def test_a_torn_last_line_is_skipped_and_said(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(1)) + encode_line(enveloped(2))[:-20])
    reader = JournalReader(path)
    assert list(reader) == [enveloped(1)]
    assert reader.complaint == f"{path}: the last line is torn and was skipped"


def test_a_writer_after_a_torn_line_begins_on_a_line_of_its_own(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(1)) + encode_line(enveloped(2))[:-20])
    journal = Journal(path)
    assert journal.next_seq == 2
    journal.write(enveloped(2))
    journal.close()
    reader = JournalReader(path)
    assert list(reader) == [enveloped(1), enveloped(2)]
    assert reader.torn_lines == [2]
    assert reader.complaint == f"{path}: 1 torn lines were skipped (the first is line 2)"


def test_a_line_that_lacks_only_its_newline_is_not_lost(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(1))[:-1])
    journal = Journal(path)
    journal.write(enveloped(2))
    journal.close()
    assert list(JournalReader(path)) == [enveloped(1), enveloped(2)]


def test_missing_facts_are_counted(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(1)) + b"\n" + encode_line(enveloped(5)))
    reader = JournalReader(path)
    assert len(list(reader)) == 2
    assert reader.complaint == f"{path}: 3 facts are missing"


def test_a_reader_goes_on_where_it_stopped(path: Path) -> None:
    whole, half = encode_line(enveloped(1)), encode_line(enveloped(2))
    path.write_bytes(whole + half[:10])
    reader = JournalReader(path)
    assert list(reader) == [enveloped(1)]
    with path.open("ab") as file:
        file.write(half[10:])
    assert list(reader) == [enveloped(2)]
    assert reader.complaint == ""


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"seq": "1", "t": 0, "event": {}}', b"null"])
def test_a_line_that_is_no_envelope_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_line(line)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.mktemp("garbage") / "events.jsonl"
    path.write_bytes(garbage + b"\n" + encode_line(enveloped(1)))
    assert list(JournalReader(path))[-1:] == [enveloped(1)]
    assert tail_of(path).last_seq >= 1


def test_the_tail_tells_how_the_last_process_ended(path: Path) -> None:
    assert tail_of(path) == JournalTail()
    lines = [encode_line(enveloped(1, started())), encode_line(enveloped(2, finished()))]
    path.write_bytes(b"".join(lines))
    assert tail_of(path) == JournalTail(2, "done")
    path.write_bytes(b"".join([*lines, encode_line(enveloped(3, StopRequested("x")))]))
    assert tail_of(path) == JournalTail(3, "done")
    path.write_bytes(b"".join([*lines, encode_line(enveloped(3, started())), encode_line(enveloped(4))]))
    assert tail_of(path) == JournalTail(4, None)


def test_the_tail_is_found_behind_a_torn_line_longer_than_what_is_read_from_the_end(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(7, finished())) + b"x" * (1 << 19))
    assert tail_of(path) == JournalTail(7, "done")


def test_a_journal_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        Journal(tmp_path)


def test_replay_of_a_folder_without_a_journal_says_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replay(path)


FILLS_ITS_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from runtime.events import Envelope, Warned
    from runtime.events.journal import Journal

    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(path)
    journal.on_trouble = lambda trouble: print(trouble.text.replace(str(path), "PATH"), flush=True)
    write = lambda seq: journal.write(Envelope(seq, 0.0, "root", Warned("here", f"fact {seq}")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for seq in range(1, 11):
        write(seq)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    write(11)
    print("lost", journal.lost_lines)
    journal.close()
"""


@pytest.mark.parametrize("cut_bytes", [0, 1, 40])
def test_a_full_disk_loses_lines_but_neither_the_run_nor_half_a_line(path: Path, cut_bytes: int) -> None:
    """The file's size limit stands for a full disk: a write is short, then refused. It needs a process of its own."""
    per_line = len(encode_line(Envelope(1, 0.0, ActorPath("root"), Warned("here", "fact 1"))))
    limit = 4 * per_line + cut_bytes
    command = [sys.executable, "-P", "-c", textwrap.dedent(FILLS_ITS_DISK), str(path), str(limit)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    said = done.stdout.splitlines()
    assert said[0].startswith("PATH cannot be written: ")
    assert said[1] == "PATH is written again; 6 lines are lost since this process began"
    assert said[2:] == ["lost 6"]
    reader = JournalReader(path)
    assert [envelope.seq for envelope in reader] == [1, 2, 3, 4, 11]
    assert reader.torn_lines == []
    assert reader.missing == 6


def test_a_disk_that_is_full_at_the_open_stops_nothing(path: Path) -> None:
    path.write_bytes(encode_line(enveloped(1))[:-1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
        journal = Journal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert journal.next_seq == 2
    journal.close()


def test_a_killed_writer_leaves_every_line_that_it_wrote(path: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from runtime.events import Envelope, Warned
        from runtime.events.journal import Journal
        journal = Journal(Path(sys.argv[1]))
        for seq in range(1, 101):
            journal.write(Envelope(seq, 0.0, "root", Warned("here", "x")))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(program), str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == -signal.SIGKILL
    assert [envelope.seq for envelope in JournalReader(path)] == list(range(1, 101))
