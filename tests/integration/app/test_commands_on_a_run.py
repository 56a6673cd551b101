"""Commands that act on a live run or look at it, in every form of TARGET that needs no other machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from runtime import events as facts
from runtime.app.words import PAUSE_RUN
from runtime.ids import ActorPath, Incarnation, Rank, Step
from tests.integration.app.test_control import command, run_folder, said, served

__all__ = ["run_folder"]


async def test_a_pause_is_told_before_it_is_done_and_done_when_it_is_asked_for(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(run_folder) as root:
        inbox = root.coordinator.open(Incarnation(1))
        assert await command("pause", run_folder, "--dry-run") == 0
        assert said(capsys)[0] == "it would do this: step 5 is finished, and no other begins"
        assert len(inbox) == 0
        assert await command("pause", f"unix:{run_folder}/control.sock", "--json") == 0
        told = json.loads(said(capsys)[0])
        assert (told["action"], told["done"]) == ("pause", "the run finishes its step and pauses")
        assert (await inbox.receive()).kind == PAUSE_RUN
        assert await command("checkpoint", run_folder) == 0
        assert said(capsys) == ["a checkpoint is written at the next step boundary"]
        assert await command("resume", run_folder) == 1
        assert said(capsys) == [f"error: {run_folder}: the run is not paused"]


async def test_an_actor_is_restarted_by_its_path_and_a_killed_one_must_have_a_process(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(run_folder):
        assert await command("restart", run_folder, "run/node/worker-1") == 0
        assert await command("kill", run_folder, "run/node/worker-1") == 1
        assert said(capsys) == [
            "run/node/worker-1 is started anew",
            f"error: {run_folder}: run/node/worker-1 has no process now: it is unknown; try again in a moment",
        ]


async def test_a_run_is_watched_until_it_ends(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:
        codes: list[int] = []

        async def watch() -> None:
            codes.append(await command("status", run_folder, "--watch", "--json"))

        async with served(run_folder):
            nursery.start_soon(watch)
            lines: list[str] = []
            while not lines:
                lines += said(capsys)
                await trio.lowlevel.checkpoint()
        # the run is over now, and so is the command
    assert codes == [0]
    assert json.loads(lines[0])["step"] == 4


async def test_alarms_and_logs_come_from_the_monitor_where_there_is_no_folder(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder / "logs").mkdir()
    (run_folder / "logs" / "worker-0.log").write_text("12:00:00 info one\n12:00:01 warning two\n")
    target = f"unix:{run_folder}/control.sock"
    async with served(run_folder) as root:
        joined = facts.WorkerJoined(Rank(0), Incarnation(1), Step(4), 7, host="mac0")
        root.bus.publish(joined, ActorPath("run/coordinator"))
        root.bus.publish(facts.Warned("disk", "it is full", "free some"), ActorPath("run"))
        assert await command("alarms", target, "--exit-code") == 1
        assert said(capsys)[0].startswith("warning: disk: it is full")
        assert await command("logs", target, "--host", "mac0", "-n", "5") == 0
        assert [line.split()[-1] for line in said(capsys)] == ["one", "two"]
        assert await command("logs", target, "--host", "mac9") == 2
        assert said(capsys) == ["error: --host mac9: the run is on mac0"]
        assert await command("logs", run_folder, "--host", "mac0", "--grep", "two") == 0
        assert len(said(capsys)) == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("status", "unix:/nowhere.sock"), 1, "there is no such socket"),
        (("status", "ssh://-oProxyCommand=x"), 2, "cannot begin with a dash"),
        (("pause", "/nowhere"), 2, "is no run"),
        (("doctor", "--host", "ssh://:1"), 2, "names no host"),
        (("dial-stdio", "/nowhere"), 2, "is no run"),
    ],
)
async def test_what_is_no_target_is_a_sentence(
    words: tuple[str, ...], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(*words) == code
    assert sentence in said(capsys)[-1]


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_the_way_to_a_machine_is_ten_steps_with_what_ssh_said(
    form: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXD_SSH", "sh -c 'echo ssh: connect to host lab port 22: No route to host >&2; exit 255'")
    assert await command("doctor", "--host", "127.0.0.1", *form) == 1
    text = "\n".join(said(capsys))
    if form:
        told = json.loads(text)
        assert [step["outcome"] for step in told["steps"]] == ["ok", "ok", "fail", *["skip"] * 7]
    else:
        assert " 3 fail connect  there is no way to 127.0.0.1 from here; fix: " in text
