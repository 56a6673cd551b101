"""Entry of the tracker's process: `python -P -m runtime.app.tracker --run-folder ...`, beside a run, never in its way.

It reads the journal and tells Weights & Biases what is in there. Whatever wandb does (raise, hang, crash this process),
the run does not wait for it: nobody waits for this process before its stop, and that has a limit. A failure is one
warning in the journal; what was not taken is still there, and the next session of the run begins with it.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from runtime.actors.child import Parent, Pipes, attached
from runtime.app.exits import OF_OUTCOME, explained
from runtime.app.log import start_log
from runtime.app.words import FINISHED
from runtime.config.load import load_config
from runtime.config.save import as_toml
from runtime.config.schema import Config
from runtime.events import Envelope, Warned, to_json
from runtime.events.replay import JournalReader
from runtime.tracking.history import History
from runtime.tracking.progress import Progress, read_progress, write_progress
from runtime.tracking.weights_and_biases import WeightsAndBiases

IMPORT_SECONDS = 300.0
"""A busy machine takes a minute to import wandb; nobody waits for it."""
POLL_SECONDS = 1.0
MOST_AT_ONCE = 256
"""Facts between two notes of how far it is."""
GOOD_ENDS = ("done", "stopped")
T = TypeVar("T")


@dataclass
class _Ending:
    """What the root says of the run's end before it stops this process."""

    outcome: str = ""

    @property
    def exit_code(self) -> int:
        """0 for a run that was done, or stopped by its user."""
        return 0 if self.outcome in GOOD_ENDS else OF_OUTCOME.get(self.outcome, 1)


class Tracker:
    """Reads the journal from where the last session stopped, and hands on what it finds."""

    def __init__(self, config: Config, run_folder: Path) -> None:
        checkpoint, wandb = config.checkpoint, config.wandb
        tables = as_toml(config)
        tables.get("cluster", {}).pop("env", None)
        self.folder = run_folder
        self.progress: Progress = read_progress(run_folder, uuid.uuid4().hex[:12])
        self.history = History(checkpoint.metric, checkpoint.mode, wandb.artifacts, wandb.log == "per_rank")
        self.writer = WeightsAndBiases(
            wandb, run_folder, run_folder.name, self.progress.id, tables, (checkpoint.metric, checkpoint.mode)
        )
        self._reader = JournalReader(run_folder / "events.jsonl")
        self._goes_on = self.progress.seq > 0

    def begin(self) -> None:
        """Note the run's id, and open the writer's first run. Blocks; raises anything."""
        write_progress(self.folder, self.progress)
        self.writer.start()

    def follow(self) -> int:
        """Hand on what is new, up to a limit; returns how many facts that were. Blocks; raises anything."""
        fresh = list(islice(self._reader, MOST_AT_ONCE))
        for envelope in fresh:
            self._hand_on(envelope)
        if fresh:
            write_progress(self.folder, self.progress)
        return len(fresh)

    def finish(self, exit_code: int) -> None:
        """Hand on what was held back, and close the writer. Blocks; raises anything."""
        for entry in self.history.finish():
            self.writer.log(entry)
        self.writer.finish(exit_code)

    def _hand_on(self, envelope: Envelope) -> None:
        """Facts that an earlier session took are read once more, because they say what is best, but not handed on."""
        is_new = envelope.seq > self.progress.seq
        if is_new and self._goes_on:
            self.history.finish()  # that session did, too
            self._goes_on = False
        entries = self.history.take(envelope)
        if is_new:
            for entry in entries:
                self.writer.log(entry)
            self.progress = replace(self.progress, seq=envelope.seq)


async def _work(pipes: Pipes, run_folder: Path, finish_seconds: float) -> None:
    async with attached(pipes, {"what": "tracker"}) as parent:
        config = load_config(run_folder / "config.toml")
        start_log(config.run.log_level)
        ending = _Ending()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hear, parent, ending)
            trouble = await _track(parent, config, run_folder, ending, finish_seconds)
            if trouble:
                fix = "the run goes on without it; its journal has everything, and a resumed run hands it on"
                await parent.fact_now(to_json(Warned("wandb", trouble, fix)))
                await parent.stopping.wait()
            nursery.cancel_scope.cancel()
    if trouble:
        os._exit(0)  # wandb's own farewell at the end of the interpreter may hang like the rest of it


async def _hear(parent: Parent, ending: _Ending) -> None:
    async for order in parent.orders:
        if order.kind == FINISHED:
            ending.outcome = str(order.body["outcome"])


async def _track(parent: Parent, config: Config, run_folder: Path, ending: _Ending, finish_seconds: float) -> str:
    """Follow the run to its end; returns what went wrong in one clause, or nothing."""
    limit = trio.CancelScope()
    trouble = f"it was not done within {finish_seconds:g} s of the run's end"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_limit_the_end, parent, limit, finish_seconds)
        with limit:
            trouble = await _attempt(parent, config, run_folder, ending)
        nursery.cancel_scope.cancel()
    return trouble


async def _attempt(parent: Parent, config: Config, run_folder: Path, ending: _Ending) -> str:
    doing = "start"
    try:
        tracker = await _blocking(Tracker, config, run_folder)
        with trio.fail_after(IMPORT_SECONDS):
            await _blocking(tracker.writer.load)
        with trio.fail_after(config.wandb.init_timeout_s):
            await _blocking(tracker.begin)
        doing = "take the run's facts"
        await _follow(parent, tracker)
        doing = "finish"
        await _blocking(tracker.finish, ending.exit_code)
    except trio.TooSlowError:
        return f"it did not start within {config.wandb.init_timeout_s} s (wandb.init_timeout_s)"
    except Exception as error:  # the border to a library that talks to the network: nothing of it may end the run
        said = str(error).strip().splitlines()
        return f"it could not {doing}: {type(error).__name__}{': ' + said[0] if said else ''}"
    return ""


async def _follow(parent: Parent, tracker: Tracker) -> None:
    """Hand on the journal until the run is over and nothing is left in it."""
    while True:
        over = parent.stopping.is_set()  # asked before the journal is read: what was written until then is in it
        if await _blocking(tracker.follow):
            continue
        if over:
            return
        with trio.move_on_after(POLL_SECONDS):
            await parent.stopping.wait()


async def _limit_the_end(parent: Parent, limit: trio.CancelScope, seconds: float) -> None:
    await parent.stopping.wait()
    limit.deadline = trio.current_time() + seconds


async def _blocking(function: Callable[..., T], *args: object) -> T:
    """On a thread that is left behind when its time is over."""
    return await trio.to_thread.run_sync(partial(function, *args), abandon_on_cancel=True)


def main() -> None:
    """Track until the parent wants this process to stop."""
    parser = argparse.ArgumentParser(prog="tracker")
    parser.add_argument("--run-folder", type=Path, required=True)
    parser.add_argument("--finish-seconds", type=float, required=True, help="how long the end of a run waits for wandb")
    Pipes.add_arguments(parser)
    args = parser.parse_args()
    trio.run(_work, Pipes.of(args), args.run_folder, args.finish_seconds)


if __name__ == "__main__":
    sys.exit(explained(main))
