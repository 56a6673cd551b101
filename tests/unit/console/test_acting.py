"""An act from a key to the run: asked first, with what the run says it would do; Cancel is the default."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from mlxd_wire import control_pb2 as pb
from textual.pilot import Pilot
from textual.widgets import Button, Input

from console.app import ConsoleApp
from console.client.relay import Way, relaying
from console.client.steer import me
from console.dialogs.confirm import ConfirmDialog
from runtime.events import PauseRequested, RunPaused, Warned
from runtime.ids import Step
from tests.unit.console.seats import console, in_console, shown, target, until, written
from tests.unit.view.told import begun, steps


class Service:
    """A run's Control service: remembers what it was asked."""

    def __init__(self) -> None:
        self.proposed: list[pb.Action] = []
        self.committed: list[str] = []
        self.ticket = pb.Ticket(id="t1", effects=["step 5 is finished"])
        self.reply = pb.CommitReply(done="the run finishes its step and pauses")

    async def propose(self, request: pb.Action, context: Any) -> pb.Ticket:
        self.proposed.append(request)
        return self.ticket

    async def commit(self, request: pb.CommitRequest, context: Any) -> pb.CommitReply:
        self.committed.append(request.id)
        return self.reply


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    import grpc

    def unary(handler: Any, kind: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(handler, kind.FromString, lambda reply: reply.SerializeToString())

    with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
        server = aio.server()
        handlers = {"Propose": unary(service.propose, pb.Action), "Commit": unary(service.commit, pb.CommitRequest)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("mlxd.Control", handlers),))
        address = f"unix:{folder}/s"
        server.add_insecure_port(address)
        await server.start()
        try:
            yield address
        finally:
            await server.stop(None)


@asynccontextmanager
async def steered(folder: Path, service: Service, *, may_act: bool = True) -> AsyncIterator[tuple[ConsoleApp, Any]]:
    async with serving(service) as address:

        async def control() -> str:
            return address

        run = target(folder, may_act=may_act)
        run.control = control
        async with console(run) as (app, pilot):
            yield app, pilot


async def asked(app: ConsoleApp, pilot: Pilot[None]) -> ConfirmDialog:
    """The dialog, once it hears keys."""
    while not isinstance(app.screen, ConfirmDialog):
        await pilot.pause(0.05)
    dialog = app.screen
    dialog.listen()
    await pilot.pause()
    return dialog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "tiny", [*begun(), *steps(1, 4), Warned("disk", "it is full", "free some")])


def test_a_pause_is_asked_first_and_done_when_a_person_says_yes(folder: Path) -> None:
    async def look() -> None:
        service = Service()
        async with steered(folder, service) as (app, pilot):
            await pilot.press("p")
            await asked(app, pilot)
            told = shown(app)
            assert "step 5 is finished" in told
            assert "pause the run" in told
            await pilot.press("right", "enter")
            await until(app, pilot, "the run finishes its step and pauses")
        assert [(each.kind, each.by) for each in service.proposed] == [("pause", me())]
        assert service.committed == ["t1"]

    in_console(look)


@pytest.mark.parametrize("keys", [("enter",), ("escape",)])
def test_enter_and_escape_do_nothing(folder: Path, keys: tuple[str, ...]) -> None:
    async def look() -> None:
        service = Service()
        async with steered(folder, service) as (app, pilot):
            await pilot.press("X")
            await asked(app, pilot)
            await pilot.press(*keys)
            await until(app, pilot, "nothing was done")
        assert service.committed == []

    in_console(look)


def test_a_key_that_was_meant_for_the_screen_below_says_no_yes(folder: Path) -> None:
    async def look() -> None:
        service = Service()
        async with steered(folder, service) as (app, pilot):
            app.push_screen(dialog := ConfirmDialog("stop the run", ["it ends"], deaf_seconds=3600.0))
            await pilot.press("right", "enter", "enter")
            assert app.screen is dialog
            assert app.focused is None

    in_console(look)


def test_a_kill_is_typed(folder: Path) -> None:
    async def look() -> None:
        service = Service()
        service.ticket = pb.Ticket(id="t2", effects=["process 7 ends at once"], confirm="worker-1")
        service.reply = pb.CommitReply(done="process 7 is killed")
        async with steered(folder, service) as (app, pilot):
            await pilot.press("K")
            dialog = await asked(app, pilot)
            field, button = dialog.query_one(Input), dialog.query_one("#do", Button)
            assert (app.focused, button.disabled) == (field, True)
            await pilot.press("enter")
            assert app.screen is dialog
            field.value = "worker-1"
            await pilot.pause()
            assert not button.disabled
            await pilot.press("enter")
            await until(app, pilot, "process 7 is killed")
        assert service.proposed[0].kind == "kill"
        assert service.committed == ["t2"]

    in_console(look)


def test_an_alarm_is_seen_and_a_pause_ended_without_a_question(tmp_path: Path) -> None:
    paused = [*begun(), *steps(1, 4), Warned("disk", "it is full"), PauseRequested("kim"), RunPaused(Step(4), "kim")]
    folder = written(tmp_path / "tiny", paused)

    async def look() -> None:
        service = Service()
        service.reply = pb.CommitReply(done="so be it")
        async with steered(folder, service) as (app, pilot):
            await pilot.press("a")
            await until(app, pilot, "so be it")
            await pilot.press("p")
            while len(service.committed) < 2:
                await pilot.pause(0.05)
        assert [(each.kind, each.subject) for each in service.proposed] == [
            ("acknowledge", "warned disk"), ("resume", ""),
        ]  # fmt: skip

    in_console(look)


def test_every_other_key_that_acts_names_its_action_and_whom(folder: Path) -> None:
    async def look() -> None:
        service = Service()
        service.ticket = pb.Ticket(refusal="not now; try later")
        async with steered(folder, service) as (app, pilot):
            for key in ("r", "C", "A", "D"):
                count = len(service.proposed)
                await pilot.press(key)
                if key != "D":
                    while len(service.proposed) == count:
                        await pilot.pause(0.05)
            told = await until(app, pilot, "not now; try later")
            assert "choose a worker of the tree first" in told
        assert [each.kind for each in service.proposed] == ["restart", "checkpoint", "add_worker"]

    in_console(look)


def test_who_may_only_look_is_told_so_and_nothing_is_asked_of_the_run(folder: Path) -> None:
    async def look() -> None:
        service = Service()
        async with steered(folder, service, may_act=False) as (app, pilot):
            await pilot.press("p")
            await until(app, pilot, "read-only")
        assert service.proposed == []

    in_console(look)


def test_a_run_that_does_not_answer_is_a_sentence(folder: Path) -> None:
    async def look() -> None:
        async with console(target(folder, may_act=True)) as (app, pilot):
            await pilot.press("p")
            assert "its journal" in await until(app, pilot, "no way to steer this run")

    in_console(look)


def test_a_refused_commit_is_a_sentence_and_a_relay_passes_both_calls_on(folder: Path, tmp_path: Path) -> None:
    async def look() -> None:
        service = Service()
        service.reply = pb.CommitReply(refusal="too late")
        with tempfile.TemporaryDirectory(prefix="mlxd-") as place:
            async with serving(service) as address:

                async def behind() -> str:
                    return address

                async def control() -> str:
                    return f"unix:{place}/r"

                async with relaying({"mlxd.Control": Way(behind, ("Propose", "Commit"))}, Path(place) / "r"):
                    run = target(folder, may_act=True)
                    run.control = control
                    async with console(run) as (app, pilot):
                        await pilot.press("C")
                        await asked(app, pilot)
                        await pilot.press("left", "enter")
                        await until(app, pilot, "too late")
        assert len(service.committed) == 1

    in_console(look)


def test_the_name_in_the_journal_is_user_and_machine() -> None:
    user, at, machine = me().partition("@")
    assert user
    assert at
    assert machine
