"""Child processes as actors: handshake, frames, exit words, the ladder. Real processes, real clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from runtime.actors import (
    Beat,
    Context,
    Fact,
    FatalExit,
    FrameHooks,
    Hello,
    Order,
    ProcessExit,
    ProcessSpec,
    Report,
    Source,
    process,
)
from runtime.actors.spawn import Spawned, spawn
from runtime.errors import GaveUp, MailboxFull
from runtime.ids import ActorPath, Incarnation
from runtime.supervision import Exited, Ready, RestartPlanned
from tests.support.process_actors import GUARD_SECONDS, Listener, Supervised, process_spec
from tests.support.processes import children_of, is_alive
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def test_a_child_is_ready_with_its_hello_obeys_orders_and_ends_well_when_asked(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("obey", tmp_path), listener)
    async with child.running():
        await child.address.ref.tell(Order("checkpoint", {"step": 7}))
        assert await listener.wait_for(Report) == Report("checkpoint", {"step": 7})
        view = child.root.view()
        assert view is not None
        assert view.children[0].progress == 1
    assert listener.all(Beat) == [Beat(1, "ready")]
    assert listener.all(Fact) == [Fact({"kind": "Stopped", "asked": True})]
    ready = listener.all(Ready)[0]
    assert isinstance(ready.value, Hello)
    assert ready.value.info == {"mode": "obey"}
    assert listener.sources == [Source(ActorPath("run/child"), Incarnation(1), ready.value.pid)]
    ended = listener.all(Exited)[0]
    assert (ended.exit.ok, ended.exit.kind, ended.asked) == (True, "normal", True)


async def test_an_exit_code_is_told_in_words_with_the_last_output(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("exit_with", tmp_path), listener)
    error = await child.until_it_gives_up(lambda: child.address.ref.tell(Order("exit", {"code": 3})))
    assert "run/child failed: exit code 3" in str(error)
    assert error.tail == "last words\n"
    assert isinstance(error.__cause__, ProcessExit)
    assert error.__cause__.code == 3
    assert (tmp_path / "logs" / "child.log").read_text() == "last words\n"


async def test_a_fatal_exit_code_is_not_restarted(tmp_path: Path) -> None:
    listener = Listener()
    spec = process_spec("exit_with", tmp_path, fatal_codes=frozenset({2}))
    child = Supervised(spec, listener, intensity=3, fatal=(FatalExit,))
    error = await child.until_it_gives_up(lambda: child.address.ref.tell(Order("exit", {"code": 2})))
    assert "no restart cures: exit code 2" in str(error)
    assert listener.all(RestartPlanned) == []


async def test_a_child_that_crashes_leaves_its_traceback(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("crash", tmp_path), listener)
    error = await child.until_it_gives_up(lambda: child.address.ref.tell(Order("fly")))
    assert error.tail.endswith("ValueError: cannot fly\n")


async def test_a_child_that_cannot_start_shows_its_output_and_is_no_crash_loop(tmp_path: Path) -> None:
    child = Supervised(process_spec("die_at_once", tmp_path), Listener(), intensity=3)
    with pytest.raises(GaveUp, match="run/child could not start: exit code 1") as caught:
        await child.run()
    assert caught.value.tail == "no such model\n"


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    child = Supervised(ProcessSpec((str(tmp_path / "nothing"),), tmp_path / "log"), Listener())
    with pytest.raises(GaveUp, match=r"run/child could not start: cannot start .*nothing: No such file"):
        await child.run()


async def test_a_child_that_never_says_hello_is_killed_at_the_start_limit(tmp_path: Path) -> None:
    child = Supervised(process_spec("mute", tmp_path), Listener(), start_seconds=0.2)
    with pytest.raises(GaveUp, match=r"run/child could not start: not ready within 0.2 s"):
        await child.run()


async def test_a_child_without_a_hello_gets_sigterm_at_once_when_asked_to_stop(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("mute", tmp_path), listener)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.run)
            await child.address.ref.wait_up()
            child.root.end()
    assert listener.all(Exited)[0].exit.detail in ("killed by SIGTERM", "finished", "returned before it was ready")


async def test_facts_written_through_survive_a_kill_in_the_next_instruction(tmp_path: Path) -> None:
    listener = Listener()
    with pytest.raises(GaveUp, match="killed by SIGKILL") as caught:
        await Supervised(process_spec("fact_then_die", tmp_path), listener).run()
    assert [fact.event["n"] for fact in listener.all(Fact)] == list(range(200))
    assert isinstance(caught.value.__cause__, ProcessExit)
    assert caught.value.__cause__.signal == signal.SIGKILL


async def test_a_flood_of_output_blocks_nobody_and_only_its_end_is_kept(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("flood", tmp_path), listener)
    async with child.running():
        await listener.wait_for(Beat)
    log = (tmp_path / "logs" / "child.log").read_text().splitlines()
    assert len(log) == 8000
    assert sum(line.startswith("out ") for line in log) == 4000


async def test_the_tail_of_a_killed_child_is_bounded(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("flood", tmp_path), listener)
    tail = (await child.until_it_gives_up(child.kill_after_its_first_beat)).tail
    assert len(tail) == 16 * 1024
    assert tail.splitlines()[-1].startswith(("out 3999", "err 3999"))


async def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_child(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    listener = Listener()
    child = Supervised(process_spec("flood", tmp_path), listener)
    error = await child.until_it_gives_up(child.kill_after_its_first_beat)
    assert "child.log is incomplete: " in error.tail


async def test_a_deaf_child_is_killed_at_the_end_of_the_ladder(tmp_path: Path) -> None:
    listener = Listener()
    spec = process_spec("ignore_sigterm", tmp_path, term_after_seconds=0.05, kill_after_seconds=0.05)
    async with Supervised(spec, listener).running():
        await listener.wait_for(Report)
    ended = listener.all(Exited)[0]
    assert (ended.exit.detail, ended.asked) == ("killed by SIGKILL", True)


async def test_a_child_that_reads_no_orders_can_still_be_stopped(tmp_path: Path) -> None:
    listener = Listener()
    spec = process_spec("ignore_orders", tmp_path, term_after_seconds=0.05)
    child = Supervised(spec, listener)
    async with child.running():
        await listener.wait_for(Report)
        os.kill(child.pid, signal.SIGSTOP)
        with suppress(MailboxFull):
            while True:  # until the pipe, the outbox and the mailbox are full
                child.address.ref.try_tell(Order("more", {"pad": "x" * 60_000}))
                await trio.lowlevel.checkpoint()
        os.kill(child.pid, signal.SIGCONT)
    assert listener.all(Exited)[0].asked


async def test_a_cancelled_actor_kills_at_once(tmp_path: Path) -> None:
    listener = Listener()
    spec = process_spec("ignore_sigterm", tmp_path, term_after_seconds=1000.0)
    child = Supervised(spec, listener)
    async with child.running():
        await listener.wait_for(Report)
        child.root.end(hurry=True)
    assert listener.all(Exited)[0].exit.kind == "killed"
    assert not is_alive(child.pid)


async def test_a_stopped_process_found_hung_is_replaced(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("obey", tmp_path), listener, intensity=1)
    async with child.running():
        old = child.pid
        os.kill(old, signal.SIGSTOP)
        child.root.suspect("child", 1, "no progress")
        await listener.wait_for(Hello, 2)
        assert [source.incarnation for source in listener.sources] == [1, 2]
        assert not is_alive(old)
        await child.address.ref.tell(Order("again"))
        assert (await listener.wait_for(Report)).kind == "again"
    assert listener.all(RestartPlanned)[0].reason == "no progress"


async def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    listener = Listener()
    async with Supervised(process_spec("grandchild", tmp_path), listener).running():
        grandchild = (await listener.wait_for(Report)).body["pid"]
        assert is_alive(grandchild)
    assert listener.all(Exited)[0].exit.ok
    await trio.to_thread.run_sync(_wait_gone, grandchild)


async def test_what_a_killed_child_started_goes_with_it(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("grandchild", tmp_path), listener)
    await child.until_it_gives_up(child.kill_after_its_first_beat)
    grandchild = listener.all(Report)[0].body["pid"]
    await trio.to_thread.run_sync(_wait_gone, grandchild)
    assert not is_alive(grandchild)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("babble", "a frame of 4294967295 bytes was announced"),
        ("greet_twice", "said hello twice"),
        ("give_orders", "a child gives no orders"),
    ],
)
async def test_a_child_that_breaks_the_protocol_is_killed_and_said_so(mode: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match=rf"run/child failed: broke the frame protocol \({words}"):
        await Supervised(process_spec(mode, tmp_path), Listener()).run()


async def test_a_child_takes_nothing_but_orders(tmp_path: Path) -> None:
    spec = process_spec("obey", tmp_path)
    child = await spawn(spec.argv, spec.env, None, 1)
    child.orders.put(Beat(1, "train"))
    with trio.fail_after(GUARD_SECONDS):
        assert await child.process.wait() == 1
    await child.close()


async def test_a_keeper_does_not_outlive_a_child_that_ends_well(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("obey", tmp_path, "--watch", "keeper"), listener)
    async with child.running():
        await listener.wait_for(Beat)
        keepers = children_of(child.pid)
    assert listener.all(Exited)[0].exit.ok
    assert len(keepers) == 1
    await trio.to_thread.run_sync(_wait_gone, keepers[0].pid)


async def test_a_hook_that_fails_takes_the_child_down(tmp_path: Path) -> None:
    class Broken(Listener):
        def beat(self, source: Source, frame: Beat) -> None:
            raise OSError("the journal is gone")

    listener = Broken()
    with pytest.raises(GaveUp, match="run/child failed: OSError: the journal is gone"):
        await Supervised(process_spec("obey", tmp_path), listener).run()
    assert not is_alive(listener.sources[0].pid)


async def test_every_kill_is_reported_and_answered_with_a_new_incarnation(tmp_path: Path) -> None:
    listener = Listener()
    child = Supervised(process_spec("obey", tmp_path), listener, intensity=5)
    times = []
    async with child.running():
        for count in range(1, 4):
            await listener.wait_for(Hello, count)
            began = time.perf_counter()
            os.kill(child.pid, signal.SIGKILL)
            await listener.wait_for(Exited, count)
            times.append(time.perf_counter() - began)
        await listener.wait_for(Hello, 4)
    print("from SIGKILL to Exited, ms:", [round(seconds * 1000, 2) for seconds in times])
    assert [source.incarnation for source in listener.sources] == [1, 2, 3, 4]
    assert {event.exit.detail for event in listener.all(Exited)[:3]} == {"killed by SIGKILL"}


class Immortal(Spawned):
    """A child that no signal reaches, like one that hangs in the kernel."""

    def signal_group(self, number: signal.Signals) -> None:
        """Nothing happens."""


async def test_a_child_that_cannot_be_killed_is_given_up_after_a_bounded_wait(tmp_path: Path) -> None:
    spec = process_spec("obey", tmp_path, reap_seconds=0.05)
    mortal = await spawn(spec.argv, spec.env, None, 1)
    immortal = Immortal(mortal.process, mortal.frames, mortal.orders)
    scope = trio.CancelScope()
    ctx: Context[Order] = Context("run/child", on_ready=lambda value: scope.cancel())
    with trio.fail_after(GUARD_SECONDS), scope:
        with pytest.raises(ProcessExit, match=r"still there 0.05 s after SIGKILL"):
            await process._Run(spec, FrameHooks(), ctx, immortal).run()
    mortal.signal_group(signal.SIGKILL)
    await mortal.process.wait()


def test_a_command_for_children_refuses_to_be_started_by_hand(tmp_path: Path) -> None:
    spec = process_spec("obey", tmp_path)
    reader, writer = os.pipe()
    for stdin, session in ((subprocess.DEVNULL, True), (subprocess.PIPE, False)):
        result = subprocess.run(
            [*spec.argv, "--incarnation", "1", "--frames-in", str(reader), "--frames-out", str(writer)],
            env={**os.environ, **spec.env},
            stdin=stdin,
            pass_fds=(reader, writer),
            start_new_session=session,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert "started by the runtime, not by hand" in result.stderr
    os.close(reader)
    os.close(writer)


def test_a_process_needs_a_command_line_and_times_that_make_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a command line"):
        ProcessSpec((), tmp_path / "log")
    with pytest.raises(ValueError, match="must not be negative"):
        ProcessSpec((sys.executable,), tmp_path / "log", reap_seconds=-1)


def test_signals_without_a_name_have_a_number() -> None:
    assert process.signal_name(9) == "SIGKILL"
    assert process.signal_name(250) == "signal 250"


def _wait_gone(pid: int) -> None:
    until(lambda: not is_alive(pid), within_seconds=GUARD_SECONDS, what=lambda: f"{pid} is still alive")
