"""What the Overview shows of a picture."""

from __future__ import annotations

from dataclasses import replace

from console.state.alarms import alarm_rows, alarms_title
from console.state.devices import device_rows, host_lines
from console.state.pulse import pulse_lines
from console.state.spans import Line, text_of, width_of
from console.state.story import newest_first
from console.state.tree import budget_left, budgets, detail_lines, tree_rows
from runtime.events import ActorExited, CheckpointWritten, Envelope, RestartPlanned, StepCommitted, Warned
from runtime.ids import ActorPath, Incarnation, Step
from runtime.view.build import view_of
from runtime.view.cards import AlarmCard, DeviceCard, HostCard, NodeCard, RunCard, RunView, WorkerCard
from tests.unit.view.told import NODE, WORKER, after, begun, commit, steps

NOW = 1100.0


def letters(rows: list[tuple[Line, str]]) -> list[str]:
    return [text_of(parts).rstrip() for parts, _ in rows]


def view_after_a_kill() -> RunView:
    killed = ActorExited(WORKER, Incarnation(1), "error", "killed by SIGKILL", None, "a last word\n", False)
    return view_of(after([*begun(), *steps(1, 4), killed, RestartPlanned(WORKER, Incarnation(2), 2.0, 2)]), NOW)


def test_a_quiet_run_has_a_quiet_line() -> None:
    view = RunView(
        run=RunCard(name="quick"),
        alarms={"a": AlarmCard("a", "x", is_mended=True), "b": AlarmCard("b", "x", acknowledged_by="me")},
    )
    assert letters(alarm_rows(view, "")) == ["✓ no alarms   1 mended   1 seen"]
    assert letters(alarm_rows(RunView(), "")) == ["nothing is known yet"]
    assert alarms_title(view) == "Alarms"


def test_the_chosen_alarm_tells_its_fix_and_the_command() -> None:
    warned = AlarmCard(
        "w", "slow", "warning", "worker 1", "mac1", "is slow", "look at it", "mlx-distributed logs", seen=3
    )
    worse = AlarmCard("c", "paused", "critical", "run", cause="nobody trains")
    view = RunView(alarms={"w": warned, "c": worse})
    assert alarms_title(view) == "Alarms · 1 critical · 1 warning"
    first = letters(alarm_rows(view, ""))
    assert ("✗" in first[0], "▲" in first[1], len(first)) == (True, True, 2)
    chosen = letters(alarm_rows(view, "w"))
    assert [each.strip() for each in chosen[2:]] == ["fix  look at it", "$   mlx-distributed logs"]
    assert "is slow (3 times)" in chosen[1]


def test_the_tree_tells_who_lives_and_how_many_restarts_are_left() -> None:
    rows = tree_rows(view_after_a_kill(), NOW - 80, 60)
    told = letters(rows)
    assert [key for _, key in rows][:4] == ["run", "run/node", "run/node/worker-0", "run/node/worker-1"]
    assert "one for one" in told[0]
    assert told[0].endswith("3/3 left")
    assert told[1].endswith("2/3 left")
    assert ("↻ worker-1" in told[3], "waits to restart" in told[3], "1 restart" in told[3]) == (True, True, True)
    assert {width_of(parts) <= 60 for parts, _ in rows} == {True}


def test_a_budget_grows_again_when_its_period_is_over() -> None:
    node = NodeCard("run/node", budget=3, period_seconds=60.0, failures=(10.0, 50.0))
    assert [budget_left(node, now) for now in (55.0, 80.0, 120.0)] == [1, 2, 3]
    view = RunView(nodes={"run/node": node})
    assert (budgets(view, 55.0), budgets(view, 120.0)) == ((1,), (3,))
    assert budget_left(NodeCard("run/node/worker-0"), 1.0) is None


def test_a_worker_is_closed_while_its_parts_are_well_and_opens_by_hand() -> None:
    parts = {f"{WORKER}/{name}": NodeCard(f"{WORKER}/{name}", str(WORKER), "ready") for name in ("writer", "trainer")}
    nodes = {
        str(NODE): NodeCard(str(NODE)),
        str(WORKER): NodeCard(str(WORKER), str(NODE), "ready", phase="compute", step=7),
    }
    view = RunView(nodes=nodes | parts)
    assert letters(tree_rows(view, NOW, 60))[1:] == ["└ ● worker-1 +2  compute 7"]
    assert len(tree_rows(view, NOW, 60, {str(WORKER)})) == 4
    broken = replace(parts[f"{WORKER}/trainer"], status="starting")
    assert len(tree_rows(replace(view, nodes=nodes | parts | {broken.path: broken}), NOW, 60)) == 4


def test_a_node_that_is_quiet_ended_or_gave_up_says_so() -> None:
    cards = [
        NodeCard("run/node/worker-0", status="ready", phase="compute", step=3, beat_seconds=NOW - 9),
        NodeCard("run/a", status="exited", reason="normal: finished"),
        NodeCard("run/b", status="exited", reason="error: lost"),
        NodeCard("run/c", status="gave_up"),
        NodeCard("run/d", status="starting"),
    ]
    told = letters(tree_rows(RunView(nodes={card.path: card for card in cards}), NOW, 60))
    wanted = ("quiet 9", "ended", "ended: error: lost", "gave up", "starting")
    assert [
        words for words, row in zip(wanted, sorted(told), strict=True) if not any(words in each for each in told)
    ] == []


def test_the_chosen_node_tells_its_process_and_its_last_words() -> None:
    view = view_after_a_kill()
    told = [text_of(each) for each in detail_lines(view, str(WORKER), NOW, 60)]
    assert "mac0" in told[0]
    assert any("killed by SIGKILL" in each for each in told)
    assert any("a last word" in each for each in told)
    assert "3 of 3 failures" in text_of(detail_lines(view, "run", NOW, 60)[1])
    assert detail_lines(view, "nobody", NOW, 60) == []


def test_workers_show_what_is_known_of_them_and_no_empty_column() -> None:
    workers = {
        "0": WorkerCard(0, "training", host="mac0", device="gpu"),
        "1": WorkerCard(1, "lost", host="mac0", shards=7),
    }
    devices = {"0": DeviceCard(0, peak_bytes=50_000_000, planned_bytes=40_000_000, process_cpu=0.5)}
    rows = device_rows(RunView(workers=workers, devices=devices), 80)
    told = letters(rows)
    assert [word for word in ("worker", "host", "cpu", "peak", "plan", "shards") if word not in told[0]] == []
    assert "pos/s" not in told[0]
    assert [word for word in ("training", "50%", "50.0 MB", "40.0 MB") if word not in told[1]] == []
    assert rows[2][1] == "run/node/worker-1"
    ended = RunView(run=RunCard(outcome="done"), workers=workers)
    assert "ended" in letters(device_rows(ended, 80))[1]
    assert letters(device_rows(RunView(), 80)) == ["no worker yet"]


def test_a_machine_tells_its_load_and_its_disk() -> None:
    host = HostCard("mac0", cores=2, load=9.0, disk_free_bytes=10_000_000, disk_total_bytes=10**9)
    assert [text_of(each) for each in host_lines(RunView(hosts={"mac0": host}))] == [
        "mac0  2 cores  load 9.0  disk 10.0 MB free"
    ]
    assert [text_of(each) for each in host_lines(RunView(hosts={"mac0": HostCard("mac0")}))] == ["mac0"]
    (narrow,) = host_lines(RunView(hosts={"mac0": host}), 33)
    assert text_of(narrow) == "mac0  load 9.0  disk 10.0 MB free"
    assert [span.tone for span in narrow if span.text == "9.0"] == ["warn"]  # of two cores, still


def test_in_a_narrow_tree_words_are_shorter_or_missing_and_never_cut_to_a_letter() -> None:
    view = view_after_a_kill()
    wide, narrow = ([text_of(row) for row, _ in tree_rows(view, NOW, width)] for width in (60, 34))
    assert "one for one" in wide[0]
    assert not [row for row in narrow if "…" in row]
    assert all(len(row) <= 34 for row in narrow)


def test_the_last_words_of_a_node_begin_with_the_message() -> None:
    node = NodeCard("run/a", tail="2026-11-23 08:06:14,580 INFO mlx-distributed: rank 1 is ready")
    told = [text_of(each) for each in detail_lines(RunView(nodes={"run/a": node}), "run/a", NOW, 60)]
    assert told[-1] == "it said   rank 1 is ready"


def test_training_leaves_out_what_tells_least_where_there_is_little_room() -> None:
    run = RunCard(step_seconds=2.0, compute_seconds=1.0, exchange_seconds=0.5)
    curves = {"loss": [3.0, 2.0], "held-out/loss": [2.0], "tokens_per_second": [5.0], "grad_norm": [1.0]}
    heads = [text_of(each).split()[:1] for each in pulse_lines(run, curves, 60, 4)]
    assert heads == [["loss"], ["held-out"], ["tok/s"], ["step"]]
    assert len(pulse_lines(run, curves, 60)) == 6


def test_training_is_curves_and_where_a_step_goes() -> None:
    run = RunCard(smoothed_loss=1.5, tokens_per_second=2e3, step_seconds=2.0, compute_seconds=1.0, exchange_seconds=0.5)
    told = [text_of(each) for each in pulse_lines(run, {"loss": [3, 2, 1], "held-out/loss": [2.0, 1.75]}, 60)]
    assert told[0].startswith("loss")
    assert told[0].endswith("1.5000")
    assert told[1].endswith("1.7500")
    assert told[-2].endswith("2.0 s")
    assert "compute 50%" in told[-1]
    assert [text_of(each) for each in pulse_lines(RunCard(), {}, 60)] == ["no step yet"]


def test_events_are_the_newest_first_and_only_those_worth_a_line() -> None:
    facts = [commit(1), Warned("disk", "slow"), CheckpointWritten(Step(1), "checkpoints/step-1", 10, 0.1)]
    told = newest_first([Envelope(n, NOW + n, ActorPath("run"), fact) for n, fact in enumerate(facts, 1)], 5)
    assert [key for _, key in told] == ["3", "2"]
    assert ("✓" in text_of(told[0][0]), "▲" in text_of(told[1][0])) == (True, True)
    assert isinstance(facts[0], StepCommitted)
