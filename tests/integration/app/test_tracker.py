"""The tracker's process over a journal that is there already, with a `wandb` that notes, hangs, raises and dies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime import launch
from runtime.actors import Fact, Order, ProcessSpec
from runtime.app.words import FINISHED
from runtime.events import CheckpointWritten, EvaluationFinished, Event, RunStarted, SampleGenerated, StepCommitted
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Cursor, Generation, Rank, Step
from tests.support.fake_wandb import FakeWandb
from tests.support.offline_run import history, records
from tests.support.process_actors import ROOT, Listener, Supervised
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow

STARTED = RunStarted("tiny", 2, Step(1), Step(8), 16, "hash")


def step(number: int) -> StepCommitted:
    place = Step(number), Generation(1), Cursor(16 * number - 16), 16
    return StepCommitted(*place, True, 1 / number, 100, 0.5, 1e-3, 2.0, owners=(Rank(0), Rank(1)))


STORY: tuple[Event, ...] = (
    STARTED,
    step(1),
    CheckpointWritten(Step(1), "checkpoints/step-00000001", 3, 0.5),  # which is not there any more
    step(2),
    EvaluationFinished(Step(2), "held-out", 1.25, 10, 0.5, 1.0, (("rougeL", 0.25),)),
    SampleGenerated(Step(2), "2 + 3", "5", "four"),
    CheckpointWritten(Step(2), "checkpoints/step-00000002", 3, 0.5),
)


def happened(run_folder: Path, *facts: Event) -> None:
    journal = Journal(run_folder / "events.jsonl")
    bus = journaled_bus(journal)
    for fact in facts:
        bus.publish(fact, ActorPath("run"))
    journal.close()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    wandb = {"mode": "offline", "log": "per_rank", "artifacts": "all", "init_timeout_s": 1, "tags": ["sums"]}
    write_tiny_config(folder, extra={"wandb": wandb}).rename(folder / "config.toml")
    (folder / "checkpoints" / "step-00000002").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000002" / "manifest.json").write_text("{}")
    happened(folder, *STORY)
    return folder


async def tracked(
    run_folder: Path, fake: FakeWandb, finish_seconds: float = 60.0, until_fact: bool = False
) -> Listener:
    """Track the run; the run ends as soon as the tracker is up, or has stated a fact."""
    command = launch.command(
        "runtime.app.tracker", "--run-folder", str(run_folder), "--finish-seconds", str(finish_seconds)
    )
    paths = [*([fake.path] if fake else []), str(ROOT), str(ROOT / "proto")]
    environment = {**(fake.environment if fake else {}), "PYTHONPATH": os.pathsep.join(paths)}
    spec = ProcessSpec(command, run_folder / "logs" / "tracker.log", environment, term_after_seconds=100.0)
    listener = Listener()
    tracker = Supervised(spec, listener)
    async with tracker.running():
        if until_fact:
            await listener.wait_for(Fact)
        await tracker.address.ref.tell(Order(FINISHED, {"outcome": "done"}))
    return listener


def warnings(listener: Listener) -> list[dict[str, Any]]:
    return [dict(fact.event) for fact in listener.all(Fact)]


async def test_a_run_is_one_group_of_runs_and_a_resumed_one_goes_on_with_the_same_id(
    run_folder: Path, tmp_path: Path
) -> None:
    fake = FakeWandb(tmp_path)
    assert warnings(await tracked(run_folder, fake)) == []
    main, zero, one = fake.told("init")
    assert [each["job_type"] for each in (main, zero, one)] == ["train", "rank-0", "rank-1"]
    assert {each["group"] for each in (main, zero, one)} == {"tiny"}
    assert (main["mode"], main["tags"], main["config"]["train"]["global_batch_size"]) == ("offline", ["sums"], 16)
    assert "env" not in main["config"].get("cluster", {})
    logged = [call["values"] for call in fake.told("log") if call["run"] == main["id"]]
    assert [row["train/step"] for row in logged if "train/loss" in row] == [1, 2]
    assert [row["eval/rougeL"] for row in logged if "eval/rougeL" in row] == [0.25]
    (table,) = [row["eval/samples"] for row in logged if "eval/samples" in row]
    assert table[1] == [2, "2 + 3", "5", "four"]
    (artifact,) = fake.told("artifact")
    assert (artifact["files"], artifact["aliases"]) == (["manifest.json"], ["step-2", "latest", "best"])
    assert [call["exit_code"] for call in fake.told("finish")] == [0, 0, 0]

    happened(run_folder, STARTED, step(3))
    await tracked(run_folder, fake)
    assert fake.told("init")[3]["id"] == main["id"]
    again = [call["values"] for call in fake.told("log") if call["run"] == main["id"]][len(logged) :]
    assert [(row["train/step"], row["run/attempt"]) for row in again] == [(3, 2)]
    assert len(fake.told("artifact")) == 1


async def test_a_wandb_that_fails_is_one_warning(run_folder: Path, tmp_path: Path) -> None:
    (warning,) = warnings(await tracked(run_folder, FakeWandb(tmp_path, "log raises"), until_fact=True))
    trouble = "it could not take the run's facts: RuntimeError: no such entity"
    assert (warning["type"], warning["place"], warning["text"]) == ("Warned", "wandb", trouble)


async def test_a_wandb_that_hangs_in_the_middle_is_left_behind_at_the_run_s_end(
    run_folder: Path, tmp_path: Path
) -> None:
    (warning,) = warnings(await tracked(run_folder, FakeWandb(tmp_path, "log hangs"), finish_seconds=0.5))
    assert warning["text"] == "it was not done within 0.5 s of the run's end"


async def test_the_folder_of_the_real_wandb_without_a_network_holds_the_history(run_folder: Path) -> None:
    config = run_folder / "config.toml"
    config.write_text(config.read_text().replace("init_timeout_s = 1\n", "init_timeout_s = 300\n"))
    assert warnings(await tracked(run_folder, None, finish_seconds=300.0)) == []
    folders = list((run_folder / "tracking" / "wandb").glob("offline-run-*"))
    assert len(folders) == 3
    (main,) = (path for path in folders if "-rank-" not in path.name)
    (log,) = main.glob("*.wandb")
    rows = history(log)
    assert [(row["train/step"], row["train/loss"]) for row in rows if "train/loss" in row] == [(1, 1.0), (2, 0.5)]
    assert [(row["train/step"], row["eval/loss"]) for row in rows if "eval/loss" in row] == [(2, 1.25)]
    (path,) = (row["eval/samples.path"] for row in rows if "eval/samples.path" in row)
    assert json.loads((main / "files" / path).read_text())["data"] == [[2, "2 + 3", "5", "four"]]
    found = {record.WhichOneof("record_type"): record for record in records(log)}
    assert (found["run"].run.run_group, found["run"].run.job_type, list(found["run"].run.tags)) == (
        "tiny", "train", ["sums"]
    )  # fmt: skip
    assert found["artifact"].artifact.name.endswith("-checkpoint")
    assert found["exit"].exit.exit_code == 0
